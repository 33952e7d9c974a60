"""Budgets: what a round may take, what it takes, and what explains the difference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.errors import ConfigurationError
from dopt.monitors import ExponentialAverage, LastTransfer, MovingAverage, Oracle, Percentile
from dopt.policies import Arrival, BudgetRounds, Count, FixedBudget, RoundTime, Sizes, Step, Timing
from simulators import timeline
from simulators.cluster import Cluster
from simulators.rates import Constant, Durations, Recorded, Sine
from simulators.timeline import observe
from simulators.varying import VaryingCluster


LEAST, MOST, GRAIN = 40, 5000, 24
MONITORS = [LastTransfer(), MovingAverage(3), ExponentialAverage(0.4), Percentile(25.0, 5)]


def within(budget):
    """Sizes come in grains."""
    return int(np.clip(LEAST + (budget - LEAST) // GRAIN * GRAIN, LEAST, MOST))


SIZES = Sizes(LEAST, MOST, within)


def link(rng):
    """A recording with outages."""
    t = np.cumsum(rng.uniform(0.2, 3.0, 15))
    return Recorded(t, rng.uniform(30.0, 900.0, 15) * (rng.random(15) > 0.25) + 1e-6)


def cluster_of(seed, n):
    rng = np.random.default_rng(seed)
    compute = [Durations(rng.uniform(0.2, 1.5, 9)) for _ in range(n)]
    links = [[link(rng) for _ in range(n)] for _ in range(2)]
    return VaryingCluster(compute, *links, rng.uniform(0, 0.1, n))


def costs_of(cluster):
    return cluster.costs(d=100, dtype=np.float32, message_bits=MOST)


def rounds(costs, spending, K=25):
    policy = BudgetRounds(costs, spending, SIZES, SIZES)
    schedule, timings = observe(policy, costs, steps=K)
    shape = (K, costs.n)
    table = np.array(timings).reshape(*shape, 6)
    return schedule, dict(zip(Timing._fields, np.moveaxis(table, -1, 0), strict=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([*MONITORS, Oracle()]))
def test_no_message_exceeds_its_budget_but_the_smallest(seed, n, monitor):
    costs = costs_of(cluster_of(seed, n))
    schedule, t = rounds(costs, RoundTime(4.0, monitor))
    budget = schedule.arrivals.budget.reshape(-1, n)
    assert np.all(t["up_bits"] <= np.maximum(budget, LEAST))
    np.testing.assert_array_equal(t["up_bits"], np.vectorize(within)(budget))
    news = schedule.steps.budget[1:-1, None]  # nothing is sent before the first round
    assert np.all(t["down_bits"][1:] <= np.maximum(news, LEAST))
    assert not t["down_bits"][0].any()
    np.testing.assert_array_equal(np.diff(schedule.steps.bits_up), t["up_bits"].sum(1))
    np.testing.assert_array_equal(np.diff(schedule.steps.bits_down), t["down_bits"].sum(1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(1.0, 12.0))
def test_with_the_oracle_rounds_keep_to_their_time(seed, n, seconds):
    """Unless the smallest messages or computing alone do not."""
    costs = costs_of(cluster_of(seed, n))
    _, t = rounds(costs, RoundTime(seconds, Oracle()))
    begun = t["start"][:, :1]
    late = t["arrived"] - begun > seconds * (1 + 1e-9)
    forced = (t["up_bits"] == LEAST) | (t["down_bits"] == LEAST)
    slow = t["computed"] - t["ready"] >= seconds
    assert np.all(~late | forced.any(1, keepdims=True) | slow)
    # Once the time allows for them, messages are sent.
    if seconds > 8:
        assert (t["up_bits"] > LEAST).mean() > 0.3


def carried(costs, worker, start, end, up):
    """The bits between two times, by a sum over a fine grid of each piece."""
    rates = costs.cluster.uplink if up else costs.cluster.downlink
    edges = np.linspace(start, end, 20_001)
    middles = (edges[1:] + edges[:-1]) / 2
    return sum(rates[worker].at(float(m)) for m in middles) * (end - start) / 20_000


def test_what_a_round_takes_is_what_the_link_carried():
    """The overshoot of a wrong estimate is explained by the recording, message by message."""
    costs = costs_of(cluster_of(5, 2))
    seconds = 5.0
    schedule, t = rounds(costs, RoundTime(seconds, LastTransfer()), K=30)
    over = (t["arrived"].max(1) - t["start"][:, 0]) - seconds
    assert over.max() > 1  # an outage that nobody foresaw
    np.testing.assert_allclose(schedule.time[1:], t["arrived"].max(1), atol=schedule.tick)
    np.testing.assert_allclose(schedule.time[:-1], t["start"][:, 0], atol=schedule.tick)
    worst = np.argsort(over)[-4:]
    for k in worst:
        for worker in range(2):
            latency = costs.latency[worker]
            sent = t["computed"][k, worker], t["arrived"][k, worker] - latency
            bits = carried(costs, worker, *sent, up=True)
            assert bits == pytest.approx(t["up_bits"][k, worker], rel=2e-3)
            news = t["start"][k, worker], t["ready"][k, worker] - latency
            if k:
                bits = carried(costs, worker, *news, up=False)
                assert bits == pytest.approx(t["down_bits"][k, worker], rel=2e-3)


@pytest.mark.parametrize("monitor", [*MONITORS, Oracle()])
def test_steady_links_are_used_to_the_last_grain(monitor):
    """h = 1, latency 0.1, 200 and 100 bits/s: (5 − 1)/2 − 0.1 = 1.9 s each way."""
    cluster = Cluster([1.0], [1 / 200], [1 / 100], 0.1, unit="bit")
    costs = cluster.costs(d=100, dtype=np.float32, message_bits=MOST)
    schedule, t = rounds(costs, RoundTime(5.0, monitor), K=8)
    budget, news = schedule.arrivals.budget, schedule.steps.budget
    np.testing.assert_allclose(budget[2:], 380, atol=1)
    np.testing.assert_allclose(news[3:], 190, atol=1)
    durations = t["arrived"] - t["start"]
    assert np.all(durations[3:] <= 5.0 + 1e-9)
    assert np.all(durations[3:] > 5.0 - GRAIN / 200 - GRAIN / 100)
    if not isinstance(monitor, Oracle):  # probes first
        assert budget[0] == 0
        assert news[1] == 0


def test_the_slowest_link_down_is_the_budget_of_the_broadcast():
    cluster = VaryingCluster([1.0, 1.0], Constant(500.0), [Constant(100.0), Constant(300.0)])
    schedule, t = rounds(costs_of(cluster), RoundTime(5.0, LastTransfer()), K=6)
    np.testing.assert_allclose(schedule.steps.budget[3:], 200, atol=1)
    assert np.all(t["down_bits"][3:] == within(200))
    np.testing.assert_allclose(schedule.arrivals.budget[-2:], 1000, atol=1)


def test_a_fixed_budget_does_not_follow_the_links():
    costs = costs_of(cluster_of(2, 3))
    schedule, t = rounds(costs, FixedBudget(300, 100))
    assert set(schedule.arrivals.budget) == {300}
    assert set(schedule.steps.budget[1:]) == {100}
    assert set(t["up_bits"].ravel()) == {within(300)}
    assert set(t["down_bits"][1:].ravel()) == {within(100)}


def test_infinitely_fast_links_get_whole_messages():
    cluster = Cluster([1.0, 2.0], 0.0)
    costs = cluster.costs(d=100, dtype=np.float32, message_bits=MOST)
    schedule, _ = rounds(costs, RoundTime(5.0, Oracle()), K=5)
    assert set(schedule.arrivals.budget) == {MOST}
    assert set(schedule.steps.budget[1:]) == {MOST}
    # A monitor learns it from its probe.
    schedule, _ = rounds(costs, RoundTime(5.0, LastTransfer()), K=5)
    assert set(schedule.arrivals.budget[4:]) == {MOST}


def test_a_round_shorter_than_its_computing_sends_the_smallest_messages():
    costs = costs_of(cluster_of(0, 2))
    schedule, t = rounds(costs, RoundTime(0.1, Oracle()), K=6)
    assert set(schedule.arrivals.budget) == {0}
    assert set(t["up_bits"].ravel()) == {LEAST}


def test_computing_that_varies_leaves_less_or_more_to_the_links():
    cluster = VaryingCluster([Durations([1.0, 3.0])], Constant(100.0), Constant(100.0))
    schedule, _ = rounds(costs_of(cluster), RoundTime(5.0, Oracle()), K=8)
    np.testing.assert_allclose(schedule.arrivals.budget[::2], 200, atol=1)
    np.testing.assert_allclose(schedule.arrivals.budget[1::2], 100, atol=1)
    # The others take the last one for the next.
    schedule, _ = rounds(costs_of(cluster), RoundTime(5.0, LastTransfer()), K=8)
    np.testing.assert_allclose(schedule.arrivals.budget[2::2], 100, atol=1)
    np.testing.assert_allclose(schedule.arrivals.budget[3::2], 200, atol=1)


def test_time_and_bits_in_other_units_are_the_same_budgets():
    base = Sine(200.0, 0.3, 20.0)
    slow = VaryingCluster([1.0], base, base)
    fast = VaryingCluster([0.25], Sine(800.0, 1.2, 80.0), Sine(800.0, 1.2, 80.0))
    one, _ = rounds(costs_of(slow), RoundTime(6.0))
    other, _ = rounds(costs_of(fast), RoundTime(1.5))
    np.testing.assert_allclose(one.arrivals.budget, other.arrivals.budget, atol=1)
    np.testing.assert_allclose(one.time, 4 * other.time, rtol=1e-6)


def test_the_policy_asks_for_timings():
    costs = costs_of(cluster_of(0, 1))
    run = BudgetRounds(costs, RoundTime(5.0), SIZES, SIZES).run(1, 0)
    next(run)
    with pytest.raises(ConfigurationError, match="need timings"):
        run.send(Arrival(0, 0))


def test_rounds_are_counted_evenly_and_end_with_a_step():
    costs = costs_of(cluster_of(0, 2))
    run = BudgetRounds(costs, RoundTime(5.0), SIZES, SIZES).run(2, 0)
    asked = next(run)
    assert [a.worker for a in asked] == [0, 1]
    timing = Timing(0.0, 0.0, 1.0, 2.0, 0, LEAST)
    assert run.send(Arrival(1, 0, timing)) == [Count(0.5)]
    count, step, *_ = run.send(Arrival(0, 0, timing))
    assert (count, type(step)) == (Count(0.5), Step)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: RoundTime(0.0), "seconds = 0.0"),
        (lambda: RoundTime(np.inf), "seconds = inf"),
        (lambda: FixedBudget(0, 10), "at least one bit"),
        (
            lambda: BudgetRounds(
                costs_of(cluster_of(0, 1)), RoundTime(1.0), replace_most(2**31), SIZES
            ),
            "2147483648 bits",
        ),
    ],
)
def test_refusals(build, words):
    with pytest.raises(ConfigurationError, match=words):
        build()


def replace_most(most):
    return SIZES._replace(most=most)


def test_the_timeline_takes_budgets_on_any_cluster():
    cluster = Cluster([1.0, 2.0], 1e-3, 1e-3, unit="bit")
    costs = cluster.costs(d=100, dtype=np.float32, message_bits=MOST)
    policy = BudgetRounds(costs, RoundTime(5.0), SIZES, SIZES)
    assert timeline(policy, costs, seconds=40.0).K >= 8
    assert timeline(replace(policy, gradients=3), costs, gradients=60).steps.gradients[-1] == 60
