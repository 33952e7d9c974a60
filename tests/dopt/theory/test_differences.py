"""Step sizes of the MARINA kin by hand; their drift is exact in `test_lyapunov`."""

import math
from inspect import unwrap
from itertools import combinations, permutations, product

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.theory import (
    dasha_mvr_step_size,
    dasha_step_size,
    importance_ab,
    marina_step_size,
    pp_marina_step_size,
    sampled_ab,
    vr_marina_step_size,
)


def test_by_hand():
    # independent, ω/n = 9/4: √(0.8/0.2 · 9/4) = 3
    assert marina_step_size(2.0, 5.0, 1.0, 9 / 4, 0.0, 0.2) == pytest.approx(1 / 17)
    # (3 − 1)·5² + 1·1² = 51
    assert marina_step_size(2.0, 5.0, 1.0, 3.0, 1.0, 0.2) == pytest.approx(
        1 / (2 + math.sqrt(4 * 51))
    )
    assert marina_step_size(2.0, 5.0, 0.0, 1.0, 1.0, 0.01) == 0.5
    assert marina_step_size(2.0, 5.0, 5.0, 9.0, 0.0, 1.0) == 0.5
    # (1 + 3)/2 = 2, √(1/4 · 2) = √0.5
    assert pp_marina_step_size(1.0, 2.0, 3.0, 0.8, 2) == pytest.approx(1 / (1 + math.sqrt(2)))
    # (ω L_plus² + (1 + ω) L_batch²)/n = (3·4 + 4·9)/2 = 24
    rule = vr_marina_step_size(1.0, 2.0, 2.0, 3.0, 3 / 2, 0.0, 0.6, 2)
    assert rule == pytest.approx(1 / (1 + math.sqrt(0.4 / 0.6 * 24)))
    assert vr_marina_step_size(1.0, 2.0, 1.0, 0.0, 2.0, 1.0, 0.5, 3) == marina_step_size(
        1.0, 2.0, 1.0, 2.0, 1.0, 0.5
    )
    assert dasha_step_size(1.0, 2.0, 4.0, 8) == pytest.approx(1 / (1 + 2 * 3))
    assert dasha_step_size(1.0, 2.0, 4.0, 9, constants="published") == pytest.approx(
        1 / (1 + 2 * math.sqrt(64))
    )
    assert dasha_step_size(1.0, 2.0, 4.0, 17, constants="code") == pytest.approx(1 / (1 + 2 * 2))
    assert dasha_step_size(1.0, 2.0, 0.0, 1) == 1
    # b = 1 forgets the past: w = 2·1·3/3 = 2 and 4·2·2² = 32
    assert dasha_mvr_step_size(1.0, 2.0, 9.0, 1.0, 1.0, 3) == pytest.approx(1 / (1 + math.sqrt(32)))
    # b = 1/2, L_batch = 4, q = 4: 4·2·(4 + 4) + 16/(3·0.75) + 8·2·0.5·4/1.5
    memory = 64 + 16 / 2.25 + 32 / 1.5
    assert dasha_mvr_step_size(1.0, 2.0, 4.0, 1.0, 0.5, 3) == pytest.approx(
        1 / (1 + math.sqrt(memory))
    )


def test_a_bound_of_the_hessian_variance_above_that_of_gradients_is_cut():
    assert marina_step_size(1.0, 2.0, 7.0, 3.0, 1.0, 0.5) == marina_step_size(
        1.0, 2.0, 2.0, 3.0, 0.0, 0.5
    )


@pytest.mark.parametrize(("n", "r"), [(5, 1), (5, 3), (5, 5), (1, 1)])
def test_sampling_is_exact_for_independent_messages(n, r):
    """Every sample, every choice of one coordinate of two by each: an equality."""
    a, omega = np.random.default_rng(0).normal(size=(n, 2)), 1.0
    errors = []
    for sample in combinations(range(n), r):
        for kept in product(range(2), repeat=r):
            mean = sum(2 * np.eye(2)[j] * a[i] for i, j in zip(sample, kept, strict=True)) / r
            errors.append(np.sum((mean - a.mean(0)) ** 2))
    A, B = sampled_ab(omega / r, 0.0, n, r)
    expected = A * np.mean(np.sum(a**2, axis=1)) - B * np.sum(a.mean(0) ** 2)
    assert np.mean(errors) == pytest.approx(expected, rel=1e-12)


def test_sampling_costs_a_permutation_nothing():
    a = np.random.default_rng(1).normal(size=(5, 3))
    errors = []
    for sample in combinations(range(5), 3):
        for order in permutations(range(3)):
            mean = sum(np.eye(3)[j] * a[i] for i, j in zip(sample, order, strict=True))
            errors.append(np.sum((mean - a.mean(0)) ** 2))
    assert sampled_ab(1.0, 1.0, 5, 3) == (1.0, 1.0)
    expected = np.mean(np.sum(a**2, axis=1)) - np.sum(a.mean(0) ** 2)
    assert np.mean(errors) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_importance_is_exact(r):
    a, w = np.random.default_rng(2).normal(size=(3, 2)), np.array([0.5, 0.3, 0.2])
    error, total = 0.0, 0.0
    for drawn in product(range(3), repeat=r):
        for kept in product(range(2), repeat=r):
            sent = [2 * np.eye(2)[j] * a[i] / (3 * w[i]) for i, j in zip(drawn, kept, strict=True)]
            chance = np.prod(w[list(drawn)]) / 2**r
            total += chance
            error += chance * np.sum((np.mean(sent, axis=0) - a.mean(0)) ** 2)
    A, B = importance_ab(1.0, r)
    expected = A * np.mean(np.sum(a**2, axis=1) / (3 * w)) - B * np.sum(a.mean(0) ** 2)
    assert total == pytest.approx(1)
    assert error == pytest.approx(expected, rel=1e-12)


def test_sampling_without_replacement_is_never_worse_than_the_published_rule():
    for n, r, omega, p in product([2, 7, 100], [1, 2], [0.0, 3.0, 99.0], [0.01, 0.5]):
        A, B = sampled_ab(omega / r, 0.0, n, r)
        ours = marina_step_size(1.0, 1.3, 1.1, A, B, p)
        assert ours >= pp_marina_step_size(1.0, 1.3, omega, p, r)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: marina_step_size(0.0, 1.0, 1.0, 1.0, 0.0, 0.5), "L = 0.0"),
        (lambda: marina_step_size(1.0, -1.0, 1.0, 1.0, 0.0, 0.5), "L_plus = -1.0"),
        (lambda: marina_step_size(1.0, 1.0, math.nan, 1.0, 0.0, 0.5), "L_pm = nan"),
        (lambda: marina_step_size(1.0, 1.0, 1.0, math.inf, 0.0, 0.5), "A = inf"),
        (lambda: marina_step_size(1.0, 1.0, 1.0, 1.0, 2.0, 0.5), "B = 2.0 exceeds A = 1.0"),
        (lambda: marina_step_size(1.0, 1.0, 1.0, 1.0, 0.0, 0.0), "p = 0.0; .* 0 < p <= 1"),
        (lambda: vr_marina_step_size(1.0, 1.0, 1.0, -1.0, 1.0, 0.0, 0.5, 3), "L_batch = -1.0"),
        (lambda: vr_marina_step_size(1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.5, 0), "n = 0"),
        (lambda: pp_marina_step_size(1.0, 1.0, 1.0, 0.5, 0), "r = 0"),
        (lambda: pp_marina_step_size(1.0, 1.0, -1.0, 0.5, 1), "omega = -1.0"),
        (lambda: dasha_step_size(1.0, 1.0, -1.0, 1), "omega = -1.0"),
        (
            lambda: unwrap(dasha_step_size)(1.0, 1.0, 1.0, 1, constants="best"),
            "constants = 'best'",
        ),
        (lambda: dasha_mvr_step_size(1.0, 1.0, 1.0, 1.0, 1.5, 1), "b = 1.5"),
        (lambda: sampled_ab(1.0, 0.0, 3, 4), "r = 4 of n = 3"),
        (lambda: sampled_ab(1.0, 2.0, 3, 2), "B = 2.0"),
        (lambda: importance_ab(1.0, 0), "r = 0"),
    ],
)
def test_bad_values_are_named(call, names):
    with pytest.raises(ConfigurationError, match=names):
        call()
