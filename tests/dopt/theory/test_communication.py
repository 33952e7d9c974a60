"""C(p), its least value and the gain of correlated quantization, by an independent minimiser."""

import math
from inspect import unwrap
from itertools import product

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.theory import (
    communication,
    gain,
    gain_limit,
    least_communication,
    marina_step_size,
    relative_noise,
)


def cost(logit, c, A):
    """C(p) where (1 − p)/p = exp(2 logit)."""
    u = np.exp(logit)
    return (1 + c * u**2) / (1 + u**2) * (1 + math.sqrt(A) * u)


def searched(c, A):
    """The least C(p), from 4,000 logits and a bounded search near the best of them."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(-14, 25, 4000)
    best = grid[np.argmin(cost(grid, c, A))]
    around = (best - 0.02, best + 0.02)
    found = minimize_scalar(cost, bounds=around, args=(c, A), options={"xatol": 1e-12})
    return min(found.fun, 1.0)


def test_the_function_by_hand():
    assert communication(1.0, 0.1, 50.0) == 1.0
    # p = 1/5: (0.2 + 0.8·0.1)(1 + √(4·9))
    assert communication(0.2, 0.1, 9.0) == pytest.approx(0.28 * 7)


def test_it_is_what_a_run_sends():
    """Rounds of the step size of theory times the mean bits of a round."""
    L, L_plus, L_pm, A, B, p, c = 2.0, 3.0, 1.0, 4.0, 1.0, 0.3, 0.05
    noise = relative_noise(L, L_plus, L_pm, A, B)
    assert noise == pytest.approx((3 * 9 + 1) / 4)
    rounds = 1 / marina_step_size(L, L_plus, L_pm, A, B, p)
    assert rounds * (p + (1 - p) * c) == pytest.approx(L * communication(p, c, noise))


@pytest.mark.parametrize("seed", range(4))
def test_the_least_value_is_found(seed):
    rng = np.random.default_rng(seed)
    for c, A in 10 ** rng.uniform((-7, -8), (0.1, 6), (250, 2)):
        found = least_communication(c, A)
        assert found.cost == pytest.approx(searched(c, A), rel=1e-10)
        assert found.cost == pytest.approx(communication(found.p, c, A), rel=1e-14)


def test_the_best_p_solves_the_quartic():
    """κcu⁴ − κ(1 − 3c)u² − 2(1 − c)u + κ = 0, of which p is the larger root."""
    for c, A in product([1e-4, 0.03, 0.1], [1e-3, 0.25, 1.0]):
        kappa = math.sqrt(A)
        roots = np.roots([kappa * c, 0, -kappa * (1 - 3 * c), -2 * (1 - c), kappa])
        u = max(roots[np.abs(roots.imag) < 1e-9].real)
        assert least_communication(c, A).p == pytest.approx(1 / (1 + u**2), rel=1e-10)


def test_where_compression_does_not_pay():
    assert least_communication(1.0, 0.0) == (1.0, 1.0)
    assert least_communication(1.3, 2.0) == (1.0, 1.0)
    assert least_communication(0.2, 1e4) == (1.0, 1.0)
    assert least_communication(0.2, 0.0) == (0.0, 0.2)


def test_published_ratios():
    """arXiv 2401.05518 states 7.29 for d = n without bound."""
    assert gain(100, 100, constants="published") == pytest.approx(3.5326, abs=5e-5)
    assert gain(1000, 1000, constants="published") == pytest.approx(5.1417, abs=5e-5)
    assert gain_limit(constants="published") == pytest.approx(7.2874, abs=5e-5)
    assert gain(100, 100) == pytest.approx(4.63, abs=5e-3)
    assert gain(1000, 1000) == pytest.approx(7.63, abs=5e-3)
    assert gain_limit() == pytest.approx(12.859, abs=5e-4)


@pytest.mark.parametrize(
    ("n", "d"), [(2, 3), (7, 50), (10, 784), (16, 16), (30, 5), (250, 1000), (3000, 3000), (1, 9)]
)
@pytest.mark.parametrize("bits", [32, 64])
def test_the_gain_anywhere(n, d, bits):
    c = (bits + d) / (bits * d)
    for name, independent, correlated in [
        ("exact", (d - 1) / n, min(d / n**2, (d - 1) / n)),
        ("published", d / 4 / n, d / 4 / n**2),
    ]:
        expected = searched(c, independent) / searched(c, correlated)
        measured = gain(n, d, constants=name, float_bits=bits)
        assert measured == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("constants", ["exact", "published"])
@pytest.mark.parametrize("bits", [16, 32])
def test_the_limit_is_the_limit(constants, bits):
    limit = gain_limit(constants=constants, float_bits=bits)
    grown = [gain(n, n, constants=constants, float_bits=bits) for n in (10**5, 10**10, 10**15)]
    assert np.all(np.diff(grown) > 0)
    assert grown[-1] == pytest.approx(limit, rel=1e-4)
    assert limit == pytest.approx(bits * searched(1 / bits, 1 if constants == "exact" else 1 / 4))


def test_orders_of_the_paper():
    """Of the order of min{d, 1 + d/n} and min{d, 1 + d/√n} coordinates, bits counted as those."""
    for n, d in product([1, 10, 1000, 10**5], [10, 1000, 10**6]):
        c = 1 / d
        correlated = least_communication(c, d / n**2).cost * d
        independent = least_communication(c, d / n).cost * d
        assert 0.2 <= correlated / min(d, 1 + d / n) <= 5
        assert 0.2 <= independent / min(d, 1 + d / math.sqrt(n)) <= 5


def test_nothing_is_proven_for_unequal_workers():
    assert gain(100, 100, L_pm=0.1) == gain(100, 100, constants="published", L_pm=1e-9) == 1


def test_one_worker_gains_nothing():
    assert gain(1, 77) == gain(1, 77, constants="published") == gain(5, 1) == 1


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: communication(0.0, 0.1, 1.0), "p = 0.0"),
        (lambda: communication(0.5, 0.0, 1.0), "c = 0.0"),
        (lambda: communication(0.5, 0.1, -1.0), "A = -1.0"),
        (lambda: least_communication(-1.0, 1.0), "c = -1.0"),
        (lambda: least_communication(0.1, math.inf), "A = inf"),
        (lambda: relative_noise(0.0, 1.0, 1.0, 1.0, 0.0), "L = 0.0"),
        (lambda: gain(0, 3), "n = 0"),
        (lambda: gain(3, 0), "d = 0"),
        (lambda: gain(3, 3, L_pm=-1.0), "L_pm = -1.0"),
        (lambda: unwrap(gain)(3, 3, constants="true"), "constants = 'true'"),
        (lambda: unwrap(gain_limit)(constants="true"), "constants = 'true'"),
        (lambda: gain_limit(float_bits=0), "float_bits = 0"),
    ],
)
def test_bad_values_are_named(call, names):
    with pytest.raises(ConfigurationError, match=names):
        call()
