"""The engine for times that vary: against the fixed one, a search act by act, and by hand."""

from dataclasses import dataclass

import numpy as np
import pytest
from erratic import Erratic, costs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.errors import ConfigurationError, NoProgressError
from dopt.policies import (
    Arrival,
    Assign,
    Cancel,
    Count,
    EveryArrival,
    Policy,
    Rounds,
    Step,
    Timing,
    pattern,
)
from simulators import timeline
from simulators.cluster import Cluster
from simulators.events import Engine, Limits
from simulators.rates import Constant, Durations, Recorded, Sine
from simulators.timeline import observe
from simulators.varying import VaryingCluster


MESSAGE, DENSE = 64, 640


def costs(compute, up, down=None, latency=0.0):
    cluster = VaryingCluster(compute, up, down, latency)
    return cluster.costs(d=10, dtype=np.float64, message_bits=MESSAGE)


def recorded(rng, samples=12, *, zeros=True):
    t = np.cumsum(rng.uniform(0.3, 4.0, samples))
    values = rng.uniform(20.0, 400.0, samples)
    return Recorded(t, values * (rng.random(samples) > 0.3 * zeros) + 1e-9)


def varying(seed, n):
    rng = np.random.default_rng(seed)
    compute = [Durations(rng.uniform(0.1, 3.0, 7)) for _ in range(n)]
    up, down = ([recorded(rng) for _ in range(n)] for _ in range(2))
    return costs(compute, up, down, rng.uniform(0, 0.2, n))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_where_times_are_fixed_it_is_the_fixed_engine(seed, n):
    h, *links = np.random.default_rng(seed).uniform(0.01, 3.0, (4, n))
    cluster = Cluster(h, links[0] / 10, links[1] / 10, links[2] / 10)
    fixed = cluster.costs(d=10, dtype=np.float64, message_bits=MESSAGE)
    expected = Engine(Erratic(), fixed, seed).simulate(Limits(25))
    found = observe(Erratic(), fixed, steps=25, seed=seed).schedule
    order = np.lexsort((expected.arrivals.worker, expected.arrivals.step))
    for mine, theirs in zip(found.arrivals, expected.arrivals.rows(order), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(found.steps[1:], expected.steps[1:], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # Chains of jobs end at multiples there and at sums here.
    np.testing.assert_allclose(found.steps.tick, expected.steps.tick, atol=1)


def by_search(policy, c, seed, K):
    """Totals at the steps, and arrivals, from lists of single acts that are searched."""
    run = policy.run(c.n, seed)
    actions, now, version, row = next(run), 0.0, 0, None
    running, got, jobs, before = {}, [-1] * c.n, [0] * c.n, [0] * c.n
    spent, rows, moves = [0, 0, 0], [], []

    def charge(acts):
        for end, gradients, bits in acts:
            if end <= now:
                spent[0] += gradients
                spent[1] += bits

    while version < K:
        for action in actions:
            if isinstance(action, Assign):
                i, t, acts = action.worker, now, []
                if action.messages and got[i] != version:
                    whole = action.download is None or (got[i] < 0 and action.download > 0)
                    bits = DENSE if whole else action.download
                    got[i] = version
                    spent[2] += bits
                    t = c.downloaded(i, t, bits) if bits else t
                for g in range(action.gradients):
                    t = c.computed(i, t, 1, before[i] + g)
                    acts.append((t, 1, 0))
                usual = DENSE if action.dense else MESSAGE
                bits = usual if action.bits is None else action.bits
                for _ in range(action.messages):
                    t = c.uploaded(i, t, bits)
                    acts.append((t, 0, bits))
                running[i] = (t, acts, jobs[i], version, action, before[i])
                before[i] += action.gradients
                jobs[i] += 1
            elif isinstance(action, Count):
                row[-2] = action.weight
            elif isinstance(action, Cancel):
                _, acts, *_, begun = running.pop(action.worker)
                charge(acts)
                before[action.worker] = begun + sum(g for end, g, _ in acts if end <= now)
            else:
                version += 1
                moves.append((now, *spent))
        i = min(running, key=lambda i: (running[i][0], i))
        now, acts, job, read, assign, _ = running.pop(i)
        charge(acts)
        row = [i, job, read, *assign[1:6], 0.0, version]
        rows.append(row)
        actions = run.send(Arrival(i, version - read))
    return [r for r in rows if r[-1] < K], moves


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_any_policy_goes_as_in_a_searched_table(seed, n):
    c = varying(seed, n)
    found = observe(Erratic(), c, steps=20, seed=seed).schedule
    rows, moves = by_search(Erratic(), c, seed, 20)
    order = sorted(range(len(rows)), key=lambda j: (rows[j][-1], rows[j][0], j))
    assert list(zip(*(column.tolist() for column in found.arrivals), strict=True)) == [
        tuple(rows[j]) for j in order
    ]
    times, *totals = np.array(moves).T
    np.testing.assert_allclose(found.time[1:], times, atol=found.tick)
    np.testing.assert_array_equal(np.stack(found.steps[1:4])[:, 1:], totals)


def test_a_round_by_hand():
    """64 bits at 32 bits/s, an outage from second 4 to 10, then 16 bits/s."""
    link = Recorded([0.0, 4.0, 10.0], [32.0, 0.0, 16.0], "hold")
    policy = Rounds(pattern([0], weight=1.0, download=32))
    c = costs([3.0], [link], [Constant(32.0)], latency=0.25)
    schedule, timings = observe(policy, c, steps=2)
    # 640 bits down, 3 s, and from 23.25 on 4 s of the message.
    assert timings[0] == Timing(0.0, 20.25, 23.25, 27.5, 640, 64)
    assert timings[1] == Timing(27.5, 28.75, 31.75, 36.0, 32, 64)
    np.testing.assert_array_equal(schedule.steps.bits_down, [0, 640, 672])
    first = costs([1.0], [link], latency=0.25)
    # Sent from second 1 to 3, and from 4.25 to 14 through the outage.
    ends = [timing.arrived for timing in observe(policy, first, steps=2).timings]
    assert ends == [3.25, 14.25]


def test_the_timeline_serves_all_policies_where_times_vary():
    c = varying(3, 4)
    assert c.varying
    for policy in (EveryArrival(), Rounds(pattern(range(4), weight=0.25))):
        schedule = timeline(policy, c, steps=9)
        np.testing.assert_array_equal(schedule.steps.tick, observe(policy, c, steps=9)[0].steps[0])
        assert schedule.stuck is None


@pytest.mark.parametrize("limit", [{"seconds": 40.0}, {"gradients": 30}, {"steps": 7}])
def test_limits(limit):
    whole = timeline(EveryArrival(), varying(0, 3), steps=200)
    cut = timeline(EveryArrival(), varying(0, 3), **limit)
    ((name, most),) = limit.items()
    reached = {"seconds": whole.time, "gradients": whole.steps.gradients, "steps": np.arange(201)}
    assert np.searchsorted(reached[name], most, "right") - 1 == cut.K
    np.testing.assert_array_equal(cut.steps.gradients, whole.steps.gradients[: cut.K + 1])


def test_a_link_that_never_recovers_ends_the_schedule_and_says_so():
    dead = Recorded([0.0, 50.0], [64.0, 64.0], "stop")
    c = costs([1.0, 1.0], [Constant(64.0), dead])
    policy = Rounds(pattern(range(2), weight=0.5))
    schedule = timeline(policy, c, seconds=1e9)
    assert 0 < schedule.K < 60
    assert "workers [1] never end" in schedule.stuck
    assert schedule.until(schedule.K - 1).stuck is None
    assert schedule.until(schedule.K).stuck == schedule.stuck
    # The other goes on alone where nobody waits.
    alone = timeline(EveryArrival(), c, steps=500)
    assert alone.stuck is None
    assert set(alone.arrivals.worker[-100:].tolist()) == {0}


def test_a_link_that_never_works_is_no_schedule():
    never = Recorded([0.0, 1.0], [1.0, 1.0], "stop")
    c = costs([1.0], [never])
    with pytest.raises(NoProgressError, match="after 0 server steps"):
        timeline(Rounds(pattern([0], weight=1.0)), c, steps=5)


def test_no_limit_is_refused():
    with pytest.raises(ConfigurationError, match="needs a limit"):
        observe(EveryArrival(), varying(0, 2))


@dataclass(frozen=True)
class Watching(Policy):
    """Keeps what it is told."""

    told: list
    observes = True

    def run(self, n, seed):
        actions = [Assign(worker) for worker in range(n)]
        while True:
            arrival = yield actions
            self.told.append(arrival.timing)
            actions = [Count(), Step(), Assign(arrival.worker)]


@pytest.mark.parametrize("times", [varying(1, 3), costs_of(np.ones(3), 0.5, 2.0, 0.25)])
def test_policies_that_watch_are_told_on_every_cluster(times):
    told = []
    schedule = timeline(Watching(told), times, steps=15)
    assert schedule.K == len(told) == 15
    assert all(t.start <= t.ready <= t.computed <= t.arrived for t in told)
    np.testing.assert_allclose(schedule.time[1:], [t.arrived for t in told], atol=schedule.tick)
    assert sum(t.up_bits for t in told) == schedule.steps.bits_up[-1]


def test_the_sine_of_the_paper_is_integrated():
    """η sin²(θt) + δ from 0: a message ends where the closed form says."""
    eta, theta, delta = 100.0, 0.7, 5.0
    c = costs([1e-9], [Sine(eta, theta, delta)])
    end = observe(Rounds(pattern([0], weight=1.0)), c, steps=1).timings[0].arrived
    t = np.linspace(1e-9, end, 2_000_001)
    carried = np.trapezoid(eta * np.sin(theta * t) ** 2 + delta, t)
    assert carried == pytest.approx(MESSAGE, rel=1e-9)
