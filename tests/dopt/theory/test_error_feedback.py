"""Step sizes of error feedback by hand; their drift is exact in `test_lyapunov`."""

import math

import pytest

from dopt.errors import ConfigurationError
from dopt.theory import (
    contraction,
    ef14_step_size,
    ef21_bidirectional_step_size,
    ef21_pp_step_size,
    ef21_sgdm_step_size,
    ef21_step_size,
    ef21p_step_size,
)


def test_by_hand():
    assert contraction(0.75) == (0.5, 0.5)
    assert contraction(5 / 9) == pytest.approx((1 / 3, 4 / 3))
    assert contraction(1.0) == (1.0, 0.0)
    assert ef21_step_size(2.0, 3.0, 5 / 9) == pytest.approx(1 / 8)
    assert ef21_pp_step_size(2.0, 3.0, 1.0, 0.75) == pytest.approx(1 / 5)
    assert ef21p_step_size(2.0, 5 / 9) == pytest.approx(1 / 6)
    assert ef14_step_size(2.0, 5 / 9, 2.0) == pytest.approx(1 / (2 * (2 + 4)))
    assert ef14_step_size(2.0, 1.0) == pytest.approx(1 / 4)
    # ρ = ρ_s = 2, √(1−α) = 2/3
    both = ef21_bidirectional_step_size(2.0, 3.0, 5 / 9, 5 / 9)
    assert both == pytest.approx(1 / (3 * (2 + 5 / 3 * 2 * 3)))
    # β/θ = 4: (16·(1/4 + 1/4))·9 + 2·4
    assert ef21_sgdm_step_size(2.0, 3.0, 5 / 9, 0.5) == pytest.approx(1 / (2 + math.sqrt(80)))
    assert ef21_sgdm_step_size(2.0, 3.0, 1.0, 1.0) == 0.5


def test_without_compression_all_are_gradient_descent():
    assert ef21_step_size(2.0, 3.0, 1.0) == ef21_pp_step_size(2.0, 3.0, 1.0, 1.0) == 0.5
    assert ef21p_step_size(2.0, 1.0) == 0.5
    assert ef21_bidirectional_step_size(2.0, 3.0, 1.0, 1.0) == 0.5


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0])
def test_compressed_one_way_only_both_ways_is_that_way(alpha):
    both = ef21_bidirectional_step_size
    assert both(2.0, 3.0, alpha, 1.0) == pytest.approx(ef21_step_size(2.0, 3.0, alpha))
    assert both(2.0, 3.0, 1.0, alpha) == pytest.approx(ef21p_step_size(2.0, alpha))


def test_tiny_alpha_keeps_its_digits():
    assert ef21_step_size(1.0, 1.0, 1e-12) == pytest.approx(1 / (2e12), rel=1e-10)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: contraction(0.0), "alpha = 0.0"),
        (lambda: ef21_step_size(1.0, 1.0, 1.5), "alpha = 1.5; .* 0 < alpha <= 1"),
        (lambda: ef21_step_size(0.0, 1.0, 0.5), "L = 0.0"),
        (lambda: ef21_pp_step_size(1.0, 1.0, 0.5, 0.0), "q = 0.0"),
        (lambda: ef21_pp_step_size(1.0, 1.0, 2.0, 0.1), "alpha = 2.0"),
        (lambda: ef21_sgdm_step_size(1.0, 1.0, 0.5, 0.0), "eta = 0.0"),
        (lambda: ef21p_step_size(math.nan, 0.5), "L = nan"),
        (lambda: ef14_step_size(1.0, 0.5, 0.0), "D = 0.0"),
        (lambda: ef21_bidirectional_step_size(1.0, 1.0, 0.5, 0.0), "alpha = 0.0"),
    ],
)
def test_bad_values_are_named(call, names):
    with pytest.raises(ConfigurationError, match=names):
        call()
