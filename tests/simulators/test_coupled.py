"""The coupled engine: real sizes, and the replay of what it lived."""

import numpy as np
import pytest
from families import METHODS, D, N, budgeted, cluster, costs_for, least_squares

from compressors.allocation import Knapsack, MinimalBits, Uniform
from dopt.errors import ConfigurationError
from dopt.methods import Kimad
from dopt.policies import FixedBudget, RoundTime
from dopt.replay import replay
from dopt.replay.plain import message_bits
from simulators import timeline
from simulators.coupled import coupled
from simulators.rates import Recorded
from simulators.varying import VaryingCluster


def costs_of(method):
    rng = np.random.default_rng(3)

    def link():
        return Recorded(np.cumsum(rng.uniform(0.5, 4, 9)), rng.uniform(100, 2500, 9))

    links = [[link() for _ in range(N)] for _ in range(2)]
    return costs_for(method, least_squares(), VaryingCluster([1.0] * N, *links))


@pytest.mark.parametrize("name", ["kimad", "marina", "async-plain", "rennala", "shadowheart"])
def test_where_sizes_are_known_before_it_is_timeline_and_replay(name):
    problem, method = least_squares(), METHODS[name](D, N)
    costs = costs_for(method, problem) if name == "shadowheart" else costs_of(method)
    steps = 10
    run = coupled(problem, method, costs, steps=steps, seed=2, timeline_seed=1)
    expected = timeline(method.policy(costs, D), costs, steps=steps, seed=1)
    trace = replay(problem, method, expected, seeds=[2], records=np.arange(steps + 1))
    np.testing.assert_array_equal(run.trace.step, trace.step)
    np.testing.assert_allclose(run.trace.time, trace.time, atol=1e-5)
    for column in ("gradients", "bits_up", "bits_down"):
        np.testing.assert_array_equal(getattr(run.trace, column), getattr(trace, column))
    np.testing.assert_allclose(run.trace.value, trace.value, rtol=1e-10)
    np.testing.assert_allclose(run.trace.x, trace.x, atol=1e-11)


@pytest.mark.parametrize("rule", [Knapsack(20), MinimalBits(1)])
def test_real_sizes_take_less_time_than_padded_ones(rule):
    """The schedule that was lived replays to the same models."""
    layers, messages = budgeted(D, rule), []
    method = Kimad(0.05, layers, budgeted(D, Uniform()), RoundTime(2.5))
    costs, problem = costs_of(method), least_squares()
    run = coupled(problem, method, costs, steps=15, on_message=lambda i, job, m: messages.append(m))
    schedule = run.observed.schedule
    sizes = [message_bits(message) for message in messages]
    assert schedule.steps.bits_up[-1] == sum(sizes[: 15 * N])
    padded = timeline(method.policy(costs, D), costs, steps=15)
    assert schedule.time[-1] < padded.time[-1]
    assert schedule.steps.bits_up[-1] < padded.steps.bits_up[-1]
    again = replay(problem, method, schedule, records=run.trace.step)
    np.testing.assert_allclose(run.trace.value, again.value, rtol=1e-10)
    np.testing.assert_array_equal(run.trace.time, again.time)


def test_at_equal_error_the_least_bits_are_fewer_than_one_ratio_for_all():
    """L-GreCo's question: a fixed budget for the second rung, and what it really takes."""
    top = budgeted(D, Uniform())
    bits = top.header_bits + int(top.table(np.float64)[:, 1].sum())
    sizes = {}
    for rule in (Uniform(), MinimalBits(1)):
        layers = budgeted(D, rule)
        # The header of a choice for each layer is no larger here.
        method = Kimad(0.05, layers, budgeted(D, Uniform()), FixedBudget(bits, 10**6))
        run = coupled(least_squares(), method, costs_of(method), steps=8)
        sizes[rule] = run.trace.bits_up[-1]
    assert sizes[MinimalBits(1)] <= sizes[Uniform()] == 8 * N * bits


def test_limits_and_refusals():
    method = METHODS["kimad"](D, N)
    costs = costs_of(method)
    with pytest.raises(ConfigurationError, match="needs a limit"):
        coupled(least_squares(), method, costs)
    with pytest.raises(ConfigurationError, match="has 5 workers and the problem has data for 6"):
        coupled(least_squares(), method, costs_for(method, least_squares(), cluster(5)), steps=1)
    run = coupled(least_squares(), method, costs, seconds=20.0)
    assert run.trace.time[-1] <= 20.0 < run.trace.time[-1] + 6
    assert np.isfinite(run.trace.value).all()
