"""What every rule promises, on problems small enough to try every choice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from allocations import READERS, RULES, L, R, chosen, instances, total
from hypothesis import given, settings

from compressors.allocation import Knapsack, Uniform, brute_force, fits


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=60, deadline=None)
@given(instances())
def test_the_budget_is_never_exceeded(name, instance):
    errors, bits, budget = instance
    rungs = chosen(RULES[name], errors, bits, budget)
    assert rungs.dtype == np.int32
    assert np.all((rungs >= 0) & (rungs < R))
    if bits[:, 0].sum() > budget:
        assert not rungs.any()
    else:
        assert total(bits, rungs) <= budget
    assert bool(fits(jnp.asarray(bits, jnp.int32), jnp.asarray(budget, jnp.int32))) == (
        bits[:, 0].sum() <= budget
    )


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None)
@given(instances())
def test_the_error_is_between_those_of_brute_force_and_of_uniform(name, instance):
    errors, bits, budget = instance
    error = total(errors, chosen(RULES[name], errors, bits, budget))
    best = total(errors, brute_force(errors, bits, budget))
    uniform = total(errors, chosen(Uniform(), errors, bits, budget))
    assert best * (1 - 1e-12) <= error <= uniform * (1 + 1e-12)


@pytest.mark.parametrize("name", RULES)
def test_errors_that_are_no_numbers_do_not_break_the_budget(name):
    rng = np.random.default_rng(0)
    bits = np.sort(rng.integers(1, 1000, (L, R)), axis=1)
    for bad in (np.nan, np.inf):
        errors = rng.random((L, R))
        errors[1] = bad
        errors[2, :2] = bad
        budget = int(bits[:, 2].sum())
        rungs = chosen(RULES[name], errors, bits, budget)
        assert total(bits, rungs) <= budget
        if name in READERS:
            assert np.isfinite(errors[2, rungs[2]])


@pytest.mark.parametrize("name", RULES)
def test_a_batch_is_a_loop(name):
    rng = np.random.default_rng(1)
    errors = -np.sort(-rng.random((3, L, R)), axis=2)
    bits = jnp.asarray(np.sort(rng.integers(1, 1000, (L, R)), axis=1), jnp.int32)
    budgets = jnp.asarray([100, 1500, 2500], jnp.int32)
    batch = jax.jit(jax.vmap(RULES[name].choose, (0, None, 0)))(jnp.asarray(errors), bits, budgets)
    for i in range(3):
        one = chosen(RULES[name], errors[i], bits, int(budgets[i]))
        np.testing.assert_array_equal(batch[i], one)


def test_a_rule_that_reads_values_asks_for_them():
    bits, budget = jnp.ones((L, R), jnp.int32), jnp.asarray(9, jnp.int32)
    assert not Uniform.reads_values
    with pytest.raises(ValueError, match="reads the errors of the rungs, and was given none"):
        Knapsack().choose(None, bits, budget)
