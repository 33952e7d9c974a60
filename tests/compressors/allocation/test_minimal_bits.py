import itertools

import numpy as np
import pytest
from allocations import L, R, chosen, instances, total
from hypothesis import given, settings

from compressors.allocation import Knapsack, MinimalBits


RULE = MinimalBits(2, levels=2000)


@settings(max_examples=60, deadline=None)
@given(instances())
def test_the_error_of_the_rung_is_kept_with_no_more_bits(instance):
    errors, bits, _ = instance
    rungs = chosen(RULE, errors, bits, 2**31 - 1)
    allowed = errors[:, 2].sum()
    assert total(errors, rungs) <= allowed * (1 + 1e-12)
    assert total(bits, rungs) <= bits[:, 2].sum()
    choices = np.asarray(list(itertools.product(range(R), repeat=L)))
    error = errors[np.arange(L), choices].sum(axis=1)
    # Rounding up takes at most a level a layer of what is allowed.
    sure = error <= allowed * (1 - L / 2000)
    fewest = bits[np.arange(L), choices[sure]].sum(axis=1).min(initial=bits[:, 2].sum())
    assert total(bits, rungs) <= fewest


def test_beyond_the_budget_it_is_the_knapsack():
    rng = np.random.default_rng(0)
    errors = -np.sort(-rng.random((L, R)), axis=1)
    bits = np.sort(rng.integers(1, 1000, (L, R)), axis=1)
    budget = int(bits[:, 0].sum()) + 100
    np.testing.assert_array_equal(
        chosen(MinimalBits(3), errors, bits, budget), chosen(Knapsack(), errors, bits, budget)
    )


def test_what_is_refused():
    with pytest.raises(ValueError, match="rung -1: give a rung from 0"):
        MinimalBits(-1)
    with pytest.raises(ValueError, match="rung 5 among 5: give one below 5"):
        chosen(MinimalBits(5), np.ones((L, R)), np.ones((L, R), int), 9)
