"""Kimad: its special cases are its parents, and both ends hold the same."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import D, N, budgeted, least_squares

from compressors import Budgeted, TopK
from compressors.allocation import Knapsack, Uniform
from compressors.ladders import LowRankLadder, QuantizationLadder, RandKLadder, TopKLadder
from dopt.methods import EF21, EF21P, GradientDescent, Kimad
from dopt.monitors import Oracle
from dopt.policies import FixedBudget, RoundTime
from dopt.replay import replay
from dopt.replay.plain import message_bits, plain_replay
from simulators import timeline
from simulators.cluster import Cluster
from simulators.rates import Recorded
from simulators.varying import VaryingCluster


STEP = 0.05


def one_layer(*ratios):
    return Budgeted((TopKLadder(ratios),), (D,), Uniform())


def varying(seed=0):
    rng = np.random.default_rng(seed)

    def link():
        return Recorded(np.cumsum(rng.uniform(0.5, 4, 9)), rng.uniform(100, 2500, 9))

    return VaryingCluster([1.0] * N, *[[link() for _ in range(N)] for _ in range(2)])


def models(method, cluster, steps=20, problem=None):
    problem = problem or least_squares()
    bits = method.message_bits(problem.d, problem.dtype, cluster.n)
    costs = cluster.costs(d=problem.d, dtype=problem.dtype, message_bits=bits)
    schedule = timeline(method.policy(costs, problem.d), costs, steps=steps)
    records = np.arange(steps + 1)
    return replay(problem, method, schedule, records=records), schedule


def same_values(one, other):
    np.testing.assert_allclose(one.value, other.value, rtol=1e-11)
    np.testing.assert_allclose(one.x, other.x, atol=1e-12)


@pytest.mark.parametrize("rule", [Uniform(), Knapsack(20)])
def test_with_unlimited_bandwidth_it_is_gradient_descent(rule):
    layers = budgeted(D, rule)
    free = Cluster(np.ones(N), 0.0)
    kimad, schedule = models(Kimad(STEP, layers, layers, RoundTime(5.0, Oracle())), free)
    descent, _ = models(GradientDescent(STEP), free)
    same_values(kimad, descent)
    whole = layers.header_bits + 64 * D
    assert np.all(np.diff(schedule.steps.bits_up) == N * whole)


def test_a_fixed_budget_up_and_whole_models_down_is_ef21():
    K, up = 4, one_layer(0.2)
    fixed = FixedBudget(up.most_bits(np.float64), 10**6)
    method = Kimad(STEP, up, one_layer(1.0), fixed)
    kimad, _ = models(method, Cluster(np.ones(N), 0.01))
    ef21, _ = models(EF21(STEP, TopK(K)), Cluster(np.ones(N), 0.01))
    same_values(kimad, ef21)


def test_whole_messages_up_and_a_fixed_budget_down_is_ef21_p():
    down = one_layer(0.2)
    fixed = FixedBudget(10**6, down.most_bits(np.float64))
    kimad, _ = models(Kimad(STEP, one_layer(1.0), down, fixed), Cluster(np.ones(N), 0.01))
    ef21p, _ = models(EF21P(STEP, TopK(4)), Cluster(np.ones(N), 0.01))
    same_values(kimad, ef21p)


@pytest.mark.parametrize("rule", [Uniform(), Knapsack(20)])
def test_it_is_its_algorithm_in_numpy(rule):
    """Steps 1 to 4 of the docstring in a loop, with the budgets that the schedule has."""
    layers, problem = budgeted(D, rule), least_squares()
    method = Kimad(STEP, layers, layers, RoundTime(2.5))
    trace, schedule = models(method, varying())
    budgets = schedule.arrivals.budget.reshape(-1, N)
    assert len(set(budgets.ravel().tolist())) > 20
    compress = jax.jit(partial(sent, layers))
    x = np.asarray(problem.start())
    known, shifts = x.copy(), np.zeros((N, D))
    for k in range(schedule.K):
        for i in range(N):
            gradient = np.asarray(problem.local_grad(jnp.asarray(known), jnp.int32(i)))
            shifts[i] += compress(gradient - shifts[i], budgets[k, i])
        x = x - STEP * shifts.mean(0)
        known = known + compress(x - known, schedule.steps.budget[k + 1])
    np.testing.assert_allclose(trace.x[0, 0], x, rtol=0, atol=1e-11)


def sent(layers, v, budget):
    """What arrives of a vector; TopK draws nothing, so that any key will do."""
    within = layers.within(jnp.asarray(budget))
    return within.expand(within.compress(v, key=jax.random.key(0)))


def test_the_larger_the_budgets_the_closer_to_gradient_descent():
    layers = Budgeted((TopKLadder((0.05, 0.1, 0.2, 0.4, 0.7, 1.0)),), (D,), Uniform())
    descent = models(GradientDescent(STEP), Cluster(np.ones(N), 0.0))[0]
    apart = [
        np.linalg.norm(
            models(Kimad(STEP, layers, layers, RoundTime(seconds)), varying())[0].x - descent.x
        )
        for seconds in (1.3, 12.0)
    ]
    assert apart[0] > 1.5 * apart[1]


def test_the_same_budgets_serve_all_step_sizes_and_seeds():
    layers = budgeted(D, Knapsack(20))
    method = Kimad(STEP, layers, layers, RoundTime(2.5), batch=2)
    _, schedule = models(method, varying(), steps=4)
    grid = replay(least_squares(), method, schedule, step_sizes=[0.02, STEP], seeds=[0, 4])
    for r, seed in enumerate((0, 4)):
        alone = replace(method, step_size=(0.02, STEP)[r])
        expected = plain_replay(least_squares(), alone, schedule, seed=seed)
        np.testing.assert_allclose(grid.x[r, r], expected[-1], rtol=0, atol=1e-12)
    assert np.abs(grid.x[0] - grid.x[1]).max() > 1e-3


def test_layers_that_are_not_the_models_are_refused():
    layers = budgeted(D, Uniform())
    costs = varying().costs(d=D + 1, dtype=np.float64, message_bits=1)
    with pytest.raises(ValueError, match="20 entries in all cannot take d = 21"):
        Kimad(STEP, layers, layers, RoundTime(1.0)).policy(costs, D + 1)


RANDOM, WIDTHS, RANKS = (
    RandKLadder((0.1, 0.4, 1.0)),
    QuantizationLadder((1, 4)),
    LowRankLadder((1, 2), (5, 4)),
)


@pytest.mark.parametrize(
    ("ladder", "rule"),
    [
        (RANDOM, Knapsack(20)),
        (WIDTHS, Uniform()),
        (RANKS, Uniform()),
        *(
            pytest.param(*other, marks=pytest.mark.slow)
            for other in ((RANDOM, Uniform()), (WIDTHS, Knapsack(20)), (RANKS, Knapsack(20)))
        ),
    ],
    ids=lambda value: value.name,
)
def test_other_families_by_the_same_interface(ladder, rule):
    """Random indices, bit widths and ranks: messages keep to budgets, and replays agree."""
    layers = Budgeted((ladder,), (D,), rule)
    method = Kimad(STEP, layers, layers, RoundTime(2.5))
    trace, schedule = models(method, varying(), steps=4)
    sizes = []

    def see(row, message):
        sizes.append((message_bits(message), int(row.budget)))

    plain = plain_replay(least_squares(), method, schedule, on_message=see)
    np.testing.assert_allclose(trace.x[0, 0], plain[-1], rtol=0, atol=1e-9)
    least = layers.least_bits(np.float64)
    assert all(bits <= max(budget, least) for bits, budget in sizes)
    assert len({bits for bits, _ in sizes}) > 1
