"""Step sizes of shifted and of local descent by hand; their drift is exact in `test_lyapunov`."""

import math

import pytest

from dopt.errors import ConfigurationError
from dopt.theory import (
    dcgd_step_size,
    diana_convex_step_size,
    diana_step_size,
    gradient_descent_step_size,
    local_sgd_step_size,
    shift_step_size,
)


def test_by_hand():
    assert gradient_descent_step_size(4.0) == 0.25
    assert dcgd_step_size(1.0, 2.0, 3.0, 4) == pytest.approx(1 / 4)
    assert diana_convex_step_size(1.0, 2.0, 3.0, 4) == pytest.approx(1 / 10)
    assert shift_step_size(3.0) == 0.25
    # ω = 9/16, a = 16/25: 1 − a = (3/5)², θ = 2/5, √(ω/n) = 3/8
    assert diana_step_size(1.0, 2.0, 9 / 16, 4) == pytest.approx(1 / (1 + 2 * (3 / 8) / (2 / 5)))
    # ω = 1, a = 1/4: 1 − 1/2 + 1/8 = 5/8
    theta = 1 - math.sqrt(5 / 8)
    assert diana_step_size(1.0, 2.0, 1.0, 4, 0.25) == pytest.approx(1 / (1 + 1 / theta))
    assert local_sgd_step_size(2.0, 9.0, 1) == 0.25
    assert local_sgd_step_size(2.0, 3.0, 4, 0.01) == pytest.approx(1 / 24)
    # 8·6·2·5/3 = 160
    assert local_sgd_step_size(2.0, 3.0, 3, 6.0) == pytest.approx(1 / (3 * math.sqrt(160)))


def test_without_compression_they_are_gradient_descent():
    assert dcgd_step_size(2.0, 3.0, 0.0, 4) == 0.5
    assert diana_step_size(2.0, 3.0, 0.0, 4) == 0.5
    assert diana_convex_step_size(2.0, 3.0, 0.0, 4) == 0.5


def test_diana_is_of_the_published_order():
    for omega in (0.1, 1.0, 10.0, 1e6):
        memory = 1 / diana_step_size(1.0, 1.0, omega, 4) - 1
        order = (1 + omega) * math.sqrt(omega / 4)
        assert order <= memory <= 2 * order * (1 + 1e-9)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: gradient_descent_step_size(0.0), "L = 0.0"),
        (lambda: dcgd_step_size(1.0, 1.0, -1.0, 2), "omega = -1.0"),
        (lambda: dcgd_step_size(1.0, 1.0, 1.0, 0), "n = 0"),
        (lambda: diana_step_size(1.0, 1.0, 1.0, 2, 1.0), r"shift = 1.0 .* 2/\(1 \+ omega\) = 1.0"),
        (lambda: diana_step_size(1.0, 1.0, 1.0, 2, 0.0), "shift = 0.0"),
        (lambda: diana_convex_step_size(1.0, -1.0, 1.0, 2), "L_max = -1.0"),
        (lambda: shift_step_size(math.inf), "omega = inf"),
        (lambda: local_sgd_step_size(1.0, 1.0, 0), "local_steps = 0"),
        (lambda: local_sgd_step_size(1.0, 1.0, 2, 0.0), "D = 0.0"),
    ],
)
def test_bad_values_are_named(call, names):
    with pytest.raises(ConfigurationError, match=names):
        call()
