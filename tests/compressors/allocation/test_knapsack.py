import jax
import jax.numpy as jnp
import numpy as np
import pytest
from allocations import R, chosen, instances, total
from hypothesis import given, settings

from compressors.allocation import Knapsack, brute_force
from compressors.allocation._programme import followed, least
from compressors.allocation.knapsack import units


STEPS = 23


@jax.jit
def programme(errors, bits, budget):
    costs, whole = units(bits, budget, STEPS)
    best, choices = least(errors, costs, STEPS)
    return costs, best, followed(choices, costs, whole)


@settings(max_examples=80, deadline=None)
@given(instances())
def test_the_programme_is_brute_force_on_costs_rounded_up(instance):
    errors, bits, budget = instance
    slack = max(budget - int(bits[:, 0].sum()), 0)
    above = bits - bits[:, :1]
    expected = [
        [STEPS + 1 if a > slack else -(-a * STEPS // max(slack, STEPS)) for a in row]
        for row in above.tolist()
    ]
    arrays = jnp.asarray(errors), jnp.asarray(bits, jnp.int32), jnp.asarray(budget, jnp.int32)
    costs, best, rungs = (np.asarray(a) for a in programme(*arrays))
    np.testing.assert_array_equal(costs, expected)
    whole = min(slack, STEPS)
    assert total(costs, rungs) <= whole
    least_error = total(errors, brute_force(errors, costs, whole))
    np.testing.assert_allclose([best[whole], total(errors, rungs)], least_error, rtol=1e-14)
    assert np.all(np.diff(best) <= 0)


def test_costs_beyond_32_bits_are_rounded_up_exactly():
    bits = np.asarray([[0, 1, 2**30 - 1, 2**30, 2**31 - 1]])
    got = units(jnp.asarray(bits, jnp.int32), jnp.asarray(2**31 - 1, jnp.int32), 32768)[0]
    assert got.tolist() == [[0, 1, 16384, 16385, 32768]]


@settings(max_examples=40, deadline=None)
@given(instances())
def test_with_a_unit_of_one_bit_it_is_the_optimum(instance):
    errors, bits, budget = instance
    spent = min(budget, int(bits[:, 0].sum()) + 1000)
    error = total(errors, chosen(Knapsack(), errors, bits, spent))
    best = total(errors, brute_force(errors, bits, spent))
    np.testing.assert_allclose(error, best, rtol=1e-12)


def test_equal_costs_a_coordinate_and_a_fine_grid_are_global_topk():
    rng = np.random.default_rng(0)
    sizes, each = (6, 7, 3), 32
    layers = [rng.standard_t(2, d) * 10.0**i for i, d in enumerate(sizes)]
    kept = [np.minimum(np.arange(max(sizes) + 1), d) for d in sizes]
    tails = [np.r_[np.sort(x**2)[::-1], 0] for x in layers]
    errors = np.asarray([[t[k:].sum() for k in ks] for t, ks in zip(tails, kept, strict=True)])
    bits = np.asarray(kept) * each
    whole = np.sort(np.concatenate(layers) ** 2)
    steps = 240
    for K in (K for K in range(1, sum(sizes) + 1) if steps % K == 0):
        rungs = chosen(Knapsack(steps), errors, bits, K * each)
        np.testing.assert_allclose(
            total(errors, rungs), whole[: sum(sizes) - K].sum(), rtol=1e-12, atol=1e-12
        )


def test_beside_the_optimum_of_scipy():
    from scipy.optimize import LinearConstraint, milp

    rng = np.random.default_rng(3)
    L = 12
    errors = -np.sort(-rng.pareto(1.0, (L, R)), axis=1)
    bits = np.sort(rng.integers(1, 10**7, (L, R)), axis=1)
    budget = int(bits[:, 2].sum())
    one_each = LinearConstraint(np.kron(np.eye(L), np.ones(R)), 1, 1)
    spent = LinearConstraint(bits.reshape(1, -1), -np.inf, budget)
    answer = milp(errors.ravel(), integrality=1, bounds=(0, 1), constraints=[one_each, spent])
    assert answer.success
    error = total(errors, chosen(Knapsack(10_000), errors, bits, budget))
    assert answer.fun * (1 - 1e-6) <= error <= 1.002 * answer.fun


def test_a_bad_number_of_steps_is_refused():
    for steps in (0, 1 << 16):
        with pytest.raises(ValueError, match=f"steps = {steps}: give from 1 to 32768"):
            Knapsack(steps)
