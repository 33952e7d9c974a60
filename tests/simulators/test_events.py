"""The event engine against a list of jobs, and what it charges."""

from dataclasses import dataclass

import numpy as np
import pytest
from erratic import DENSE_BITS, MESSAGE_BITS, Erratic, costs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.costs import Costs
from dopt.errors import NoProgressError
from dopt.policies import (
    Arrival,
    Assign,
    Cancel,
    Count,
    EveryArrival,
    FreshBatch,
    Policy,
    Rounds,
    Step,
    pattern,
)
from simulators.events import WEIGHT, Engine, Limits


def simulate(policy, costs, seed=0, **limits):
    return Engine(policy, costs, seed).simulate(Limits(**limits))


def acts(assign, costs, news):
    """Seconds and bits of the single acts of a job, one after another: gradients are -1 bits."""
    i = assign.worker
    if news is not None:
        yield costs.tau_down[i] * news / DENSE_BITS, 0
    yield from [(costs.h[i], -1)] * assign.gradients
    tau, bits = (costs.tau_dense[i], DENSE_BITS) if assign.dense else (costs.tau[i], MESSAGE_BITS)
    if assign.bits is not None:
        tau, bits = costs.tau_dense[i] * assign.bits / DENSE_BITS, assign.bits
    yield from [(tau, bits)] * assign.messages


def by_search(policy, costs, seed, K):
    """Arrivals and totals from a table of running jobs that is searched, act by act."""
    run = policy.run(costs.n, seed)
    actions, now, version, row = next(run), 0.0, 0, None
    running, received, jobs = {}, [-1] * costs.n, [0] * costs.n
    spent, rows, moves = [0, 0, 0], [], [(0.0, 0, 0, 0)]

    def charge(ends):
        for end, bits in ends:
            if end <= now:
                spent[bits >= 0] += max(bits, 1) if bits else 0

    while True:
        for action in actions:
            if isinstance(action, Assign):
                i = action.worker
                news = None
                if action.messages > 0 and received[i] != version:
                    whole = received[i] < 0 or action.download is None
                    news = DENSE_BITS if whole and action.download != 0 else action.download
                    received[i] = version
                    spent[2] += news
                seconds, bits = zip(*acts(action, costs, news), strict=True)
                ends = list(zip(now + np.cumsum(seconds), bits, strict=True))
                running[i] = (ends, jobs[i], version, action)
                jobs[i] += 1
            elif isinstance(action, Count):
                row[WEIGHT] = action.weight
            elif isinstance(action, Cancel):
                charge(running.pop(action.worker)[0])
            else:
                version += 1
                moves.append((now, *spent))
        if version >= K:
            return [r for r in rows if r[-1] < K], moves
        i = min(running, key=lambda i: (running[i][0][-1][0], i))
        ends, job, read, assign = running.pop(i)
        now = ends[-1][0]
        charge(ends)
        row = [i, job, read, *assign[1:6], 0.0, version]
        rows.append(row)
        actions = run.send(Arrival(i, version - read))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_any_policy_goes_as_in_a_searched_table(seed, n):
    rng = np.random.default_rng(seed)
    costs = costs_of(*rng.uniform(0.1, 3.0, (4, n)))
    schedule = simulate(Erratic(), costs, seed, steps=25)
    rows, moves = by_search(Erratic(), costs, seed, 25)
    assert list(zip(*(c.tolist() for c in schedule.arrivals), strict=True)) == list(
        map(tuple, rows)
    )
    times, *totals = np.array(moves).T
    np.testing.assert_allclose(schedule.time, times, atol=1e-5)
    np.testing.assert_array_equal(np.stack(schedule.steps[1:4]), totals)


def test_a_dropped_job_has_spent_what_it_finished():
    """Model 5 s, gradients 2 s each, messages 3 s each: cancelled after every number of seconds."""

    @dataclass(frozen=True)
    class DropWhenTheOtherAnswers(Policy):
        def run(self, n, seed):
            yield [Assign(0, gradients=2, messages=2), Assign(1, messages=0)]
            yield [Count(), Cancel(0), Step()]

    for seconds in range(1, 15):
        costs = Costs(*np.array([[2.0, seconds], [3.0, 0], [0, 0], [5.0, 0]]), 32, 640)
        schedule = simulate(DropWhenTheOtherAnswers(), costs, steps=1)
        done = sum(seconds >= end for end in (7, 9))
        sent = sum(seconds >= end for end in (12, 15))
        assert schedule.steps.gradients[-1] == 1 + done, seconds
        assert schedule.steps.bits_up[-1] == 32 * sent, seconds
        assert schedule.steps.bits_down[-1] == 640


def test_a_dropped_job_begins_no_chain():
    @dataclass(frozen=True)
    class Fickle(Policy):
        def run(self, n, seed):
            arrival = yield [Assign(0)]
            while arrival:
                arrival = yield [Count(), Step(), Assign(0), Cancel(0), Assign(0)]

    schedule = simulate(Fickle(), costs_of([2.0]), steps=5)
    np.testing.assert_array_equal(schedule.time, 2.0 * np.arange(6))
    np.testing.assert_array_equal(schedule.arrivals.job, [0, 2, 4, 6, 8])


def test_chains_do_not_drift():
    """The sum of 50,000 times 0.1 is off by more than the tick that a faster worker asks for."""
    alone = Rounds(pattern([0], messages=0, weight=1.0))
    schedule = simulate(alone, costs_of([0.1, 1e-4]), steps=50_000)
    assert schedule.tick < np.abs(np.cumsum(np.full(50_000, 0.1))[-1] - 5000)
    ticks = np.floor(0.1 * np.arange(50_001) / schedule.tick + 0.5)
    np.testing.assert_array_equal(schedule.steps.tick, ticks)


@pytest.mark.parametrize("policy", [FreshBatch(3), EveryArrival()])
def test_nobody_left_to_wait_for(policy):
    with pytest.raises(NoProgressError, match=r"after 0 server steps .* leave that worker out"):
        simulate(policy, costs_of([np.inf, np.inf], tau=1.0), steps=2)


def test_a_job_without_gradients_takes_no_time_to_compute():
    @dataclass(frozen=True)
    class Ping(Policy):
        def run(self, n, seed):
            arrival = yield [Assign(0, gradients=0)]
            while arrival:
                arrival = yield [Count(), Step(), Assign(0, gradients=0)]

    schedule = simulate(Ping(), costs_of([np.inf], tau=0.5), steps=4)
    np.testing.assert_allclose(schedule.time, 0.5 * np.arange(5))
    assert schedule.steps.gradients[-1] == 0
