import numpy as np
import pytest
from allocations import L, R, chosen, total

from compressors.allocation import Lagrangian, brute_force


def test_on_convex_errors_a_price_meets_the_optimum_at_its_own_budget():
    rng = np.random.default_rng(2)
    gains = -np.sort(-rng.pareto(1.0, (L, R - 1)), axis=1)
    errors = np.c_[gains.sum(axis=1), gains.sum(axis=1)[:, None] - np.cumsum(gains, axis=1)]
    bits = np.broadcast_to(100 * np.arange(1, R + 1), (L, R))
    for budget in range(100 * L, 100 * L * R + 1, 100):
        error = total(errors, chosen(Lagrangian(), errors, bits, budget))
        best = total(errors, brute_force(errors, bits, budget))
        np.testing.assert_allclose(error, best, rtol=1e-9, atol=1e-9)


def test_a_large_budget_buys_all():
    errors = np.asarray([[4.0, 1.0, 0.0], [1e-30, 1e-31, 0.0]])
    bits = np.asarray([[1, 50, 1000], [1, 2, 2**30]])
    assert chosen(Lagrangian(), errors, bits, 2**31 - 1).tolist() == [2, 2]


def test_no_iterations_are_refused():
    with pytest.raises(ValueError, match="0 iterations: give at least 1"):
        Lagrangian(0)
