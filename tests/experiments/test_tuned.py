"""Choosing the variant and step size: against plain loops, ties, censored and diverged runs."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.tuned import Best, Goal, best, times_to_target


TARGET = 0.1
GOAL = Goal(TARGET)


def tables(runs):
    """Both tables, from `(variant, step_size, seed, [(time, grad_norm2), ...])`."""
    rows, records = [], []
    for number, (variant, step_size, seed, trace) in enumerate(runs):
        rows.append(
            {"run_id": f"run{number:03}", "phase": "tune", "regime": "high", "method": "M"}
            | {"variant": variant, "step_size": step_size, "factor": step_size, "data_seed": seed}
        )
        for record, (time, norm2) in enumerate(trace):
            records.append(
                {"run_id": f"run{number:03}", "record": record, "time": time, "grad_norm2": norm2}
                | {"bits_up": 8 * record}
            )
    columns = ["run_id", "record", "time", "grad_norm2", "bits_up"]
    traces = pd.DataFrame(records, columns=columns).astype({"run_id": "category"})
    return pd.DataFrame(rows), traces


def choose(runs):
    return best(*tables(runs), "high", "M", GOAL)


def reaches(time, *, until=20.0, level=0.2):
    """A trace that is below the target from `time` on, recorded at 0, 1, 2, ..."""
    return [(t, 0.05 if t >= time else level + 1 / (1 + t)) for t in np.arange(until + 1)]


def test_the_target_is_reached_at_the_first_record_below_it():
    runs, traces = tables(
        [
            ("", 1.0, 0, [(0.0, 1.0), (2.0, TARGET), (3.0, 0.5), (4.0, 0.01)]),
            ("", 1.0, 1, [(0.0, 1.0), (2.0, 0.3), (7.0, 0.2)]),
            ("", 1.0, 2, [(0.0, 1.0), (2.0, math.nan), (7.0, math.nan)]),
            ("", 1.0, 3, []),
        ]
    )
    found = times_to_target(runs, traces, GOAL)
    np.testing.assert_array_equal(found["time_to_target"], [2.0, math.inf, math.inf, math.inf])
    np.testing.assert_array_equal(found["bits_to_target"], [8.0, math.inf, math.inf, math.inf])
    np.testing.assert_array_equal(found["least"], [0.01, 0.2, 1.0, math.inf])
    np.testing.assert_array_equal(found["last"], [4.0, 7.0, 7.0, math.nan])


def test_the_first_to_the_target_is_chosen():
    grid = (0.25, 0.5, 1.0, 2.0)
    runs = [("", size, 0, reaches(time)) for size, time in zip(grid, (9, 5, 3, 4), strict=True)]
    assert choose(runs) == Best("", 1.0, 1.0, trials=4, at_edge=False)
    assert choose(runs[:3]) == Best("", 1.0, 1.0, trials=3, at_edge=True)
    assert choose(runs[2:]) == Best("", 1.0, 1.0, trials=2, at_edge=True)


def test_trials_are_variants_times_step_sizes():
    sizes = (0.25, 0.5, 1.0)
    runs = [
        (variant, size, seed, reaches(8 if variant == "a" else 6))
        for variant in ("a", "b")
        for size in sizes
        for seed in (0, 1)
    ]
    # All of b tie: the smallest step size, which is at the edge.
    assert choose(runs) == Best("b", 0.25, 0.25, trials=6, at_edge=True)


def test_ties_go_to_the_smaller_gradient_then_to_the_smaller_step():
    tied = [("", 0.5, 0, reaches(5)), ("", 1.0, 0, reaches(5)), ("", 2.0, 0, reaches(5))]
    assert choose(tied).step_size == 0.5
    deeper = [(t, min(norm2, 0.01) if t > 6 else norm2) for t, norm2 in reaches(5)]
    assert choose([*tied[:2], ("", 2.0, 0, deeper)]).step_size == 2.0


def test_where_nobody_arrives_the_smallest_gradient_is_chosen():
    runs = [("", 2.0**k, 0, reaches(99, level=0.2 + abs(k))) for k in range(-3, 3)]
    assert choose(runs) == Best("", 1.0, 1.0, trials=6, at_edge=False)


def test_one_lucky_run_is_no_median():
    lucky = [("", 0.5, seed, reaches(2 if seed == 0 else 99)) for seed in range(3)]
    steady = [("", 1.0, seed, reaches(15)) for seed in range(3)]
    assert choose(lucky + steady).step_size == 1.0


def test_diverged_runs_lose_and_do_not_disturb():
    lost = [(0.0, 1.2), (1.0, math.nan), (2.0, math.nan)]
    assert choose([("", 0.5, 0, reaches(9)), ("", 64.0, 0, lost)]).step_size == 0.5
    assert choose([("", 0.5, 0, lost), ("", 64.0, 0, lost)]).step_size == 0.5


def test_runs_without_a_trace_are_no_choice():
    assert choose([("", 0.5, 0, []), ("", 1.0, 0, [])]) is None
    chosen = choose([("a", 0.5, 0, []), ("b", 0.5, 0, reaches(9)), ("b", 1.0, 0, reaches(8))])
    assert chosen == Best("b", 1.0, 1.0, trials=3, at_edge=True)


def test_only_tuning_runs_of_this_method_and_regime_choose():
    runs, traces = tables([("", 2.0**k, 0, reaches(10 - k)) for k in range(5)])
    for column, value in (("phase", "report"), ("regime", "low"), ("method", "other")):
        others = runs.assign(**{column: np.where(runs["step_size"] > 4.0, value, runs[column])})
        assert best(others, traces, "high", "M", GOAL) == Best("", 4.0, 4.0, trials=3, at_edge=True)


def by_hand(runs):
    """The chosen pair, by a loop: upper medians of times, then of the smallest gradients."""
    ranked = []
    for variant, size in sorted({(run[0], run[1]) for run in runs}):
        times, least = [], []
        for trace in (run[3] for run in runs if run[:2] == (variant, size)):
            below = [t for t, norm2 in trace if norm2 <= TARGET]
            times.append(min(below, default=math.inf))
            least.append(min(norm2 for _, norm2 in trace if not math.isnan(norm2)))
        middle = len(times) // 2
        ranked.append((sorted(times)[middle], sorted(least)[middle], size, variant))
    return min(ranked)[3], min(ranked)[2]


TIMES = st.sampled_from([1, 2, 3, 5, 8, 99])


@st.composite
def experiments(draw):
    """Runs of two variants, three step sizes and up to four seeds; many ties, some censored."""
    seeds = draw(st.integers(1, 4))
    runs = []
    for variant, size, seed in itertools.product("ab", (0.5, 1.0, 2.0), range(seeds)):
        trace = reaches(draw(TIMES), level=draw(st.sampled_from([0.2, 0.3])))
        if draw(st.booleans()):
            lost = draw(st.integers(1, 12))
            trace = [(t, norm2 if t < lost else math.nan) for t, norm2 in trace]
        runs.append((variant, size, seed, trace))
    return runs


@settings(max_examples=60, deadline=None)
@given(runs=experiments())
def test_the_choice_is_that_of_a_plain_loop(runs):
    chosen = choose(runs)
    assert (chosen.variant, chosen.step_size) == by_hand(runs)
    assert chosen.at_edge == (chosen.step_size != 1.0)


def cut(runs):
    """What tuning keeps of a variant: all until more than half of the seeds of a pair arrived."""
    ends = []
    for size in sorted({run[1] for run in runs}):
        traces = [run[3] for run in runs if run[1] == size]
        times = [min([t for t, n in trace if n <= TARGET], default=math.inf) for trace in traces]
        ends.append(sorted(times)[len(times) // 2])
    return [(*run[:3], [(t, norm2) for t, norm2 in run[3] if t <= min(ends)]) for run in runs]


@settings(max_examples=60, deadline=None)
@given(runs=experiments())
def test_tuning_may_end_early_without_another_choice(runs):
    """Between equal times the smallest gradient decides, of which the end of tuning shows less."""
    shown = [run for variant in "ab" for run in cut([r for r in runs if r[0] == variant])]
    whole, early = choose(runs), choose(shown)

    def time(choice):
        pair = [r for r in runs if r[:2] == (choice.variant, choice.step_size)]
        found = times_to_target(*tables(pair), GOAL)["time_to_target"]
        return sorted(found)[len(found) // 2]

    assert time(whole) == time(early)


def test_the_median_of_two_is_the_later_one():
    """With the mean of both, 0.5 would win with 5.5 s, had tuning not ended at 9 s."""
    runs = [
        ("", 0.5, 0, reaches(1)), ("", 0.5, 1, reaches(10)),
        ("", 1.0, 0, reaches(8)), ("", 1.0, 1, reaches(9)),
    ]  # fmt: skip
    assert choose(runs).step_size == choose(cut(runs)).step_size == 1.0


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_the_rows_of_runs_does_not_matter(order):
    runs = [("", 2.0**k, seed, reaches(5 + abs(k))) for k in range(-2, 3) for seed in range(3)]
    rows, traces = tables(runs)
    assert best(rows[::order], traces, "high", "M", GOAL).step_size == 1.0


def test_bits_decide_where_bits_are_counted():
    """A step that is slow in time may be cheap in bits: two variants of one method."""
    runs, traces = tables(
        [("dense", 1.0, 0, reaches(5)), ("packed", 1.0, 0, [(2 * t, g) for t, g in reaches(8)])]
    )
    packed = traces["run_id"] == "run001"
    traces["bits_up"] = np.where(packed, 1, 100) * traces["record"]
    assert best(runs, traces, "high", "M", GOAL).variant == "dense"
    assert best(runs, traces, "high", "M", Goal(TARGET, "bits")).variant == "packed"
    found = times_to_target(runs, traces, Goal(TARGET, "bits"))
    np.testing.assert_array_equal(found["bits_to_target"], [500, 8])
    np.testing.assert_array_equal(found["last_bits"], [2000, 20])


def test_the_value_decides_where_it_is_the_measure():
    runs, traces = tables([("", 1.0, 0, reaches(5)), ("", 2.0, 0, reaches(9))])
    traces["value"] = np.where(traces["run_id"] == "run001", 0.01, 1.0)
    assert choose([("", 1.0, 0, reaches(5)), ("", 2.0, 0, reaches(9))]).step_size == 1.0
    assert best(runs, traces, "high", "M", Goal(TARGET, "time", "value")).step_size == 2.0


def test_the_edge_is_that_of_the_factors():
    """Each variant has a step size of theory of its own."""
    runs, traces = tables(
        [
            (variant, factor, 0, reaches(time))
            for variant, time in (("a", 9), ("b", 5))
            for factor, time in ((1.0, time + 1), (2.0, time), (4.0, time + 2))
        ]
    )
    runs["step_size"] = runs["factor"] * np.where(runs["variant"] == "a", 0.1, 0.01)
    assert best(runs, traces, "high", "M", GOAL) == Best("b", 0.02, 2.0, trials=6, at_edge=False)


def test_goals_are_told_and_found_again():
    assert str(Goal(0.01)) == "‖∇f(x)‖² ≤ 0.01"
    assert str(Goal(0.3, measure="value")) == "f(x) ≤ 0.3"
    for goal in (Goal(0.1), Goal(0.1, "bits", "value")):
        assert Goal.of(goal._asdict()) == goal
    assert Goal.of({"target": 0.5}) == Goal(0.5)  # of a folder that an older version wrote
