import numpy as np
import pytest

from compressors.grids import (
    absmax_error,
    af4,
    fp4,
    gaussian_grid,
    integer,
    lloyd_max,
    minmax_error,
    nf4,
)


PUBLISHED = [
    (nf4(), (0.007620, 0.008468, 0.009143)),
    (af4(), (0.008210, 0.009146, 0.009912)),
    (integer(4), (0.009424, 0.011585, 0.013735)),
    (integer(4, 7.5), (0.008981, 0.010571, 0.012270)),
    (fp4(), (0.010222, 0.011177, 0.011842)),
]


@pytest.mark.parametrize(("grid", "errors"), PUBLISHED)
def test_errors_of_known_formats(grid, errors):
    measured = [absmax_error(grid, group) for group in (32, 64, 128)]
    np.testing.assert_allclose(measured, errors, rtol=0.01)


def test_eight_bits():
    measured = [absmax_error(integer(8), group) for group in (32, 64, 128)]
    np.testing.assert_allclose(measured, (0.000029, 0.000035, 0.000042), atol=5e-7)


@pytest.mark.parametrize("group", [1, 7, 64])
@pytest.mark.parametrize("grid", [nf4(), integer(3, 3.5), lloyd_max(5)])
def test_errors_by_monte_carlo(grid, group):
    z = np.random.default_rng(group).standard_normal((100_000 // group, group))
    most = np.abs(z).max(axis=1, keepdims=True)
    line = grid.points[:, 0]
    codes = np.abs((z / most)[..., None] - line).argmin(axis=-1)
    errors = np.mean((z - most * line[codes]) ** 2, axis=1)
    deviation = errors.std() / np.sqrt(errors.size)
    assert abs(errors.mean() - absmax_error(grid, group)) <= 5 * deviation + 1e-12


@pytest.mark.parametrize(
    ("bits", "errors"),
    [
        (4, (0.006521, 0.008299, 0.010097)),
        (3, (0.029947, 0.038070, 0.046367)),
        (2, (0.164935, 0.208542, 0.252688)),
    ],
)
def test_errors_of_asymmetric_integers(bits, errors):
    measured = [minmax_error(1 << bits, group) for group in (32, 64, 128)]
    np.testing.assert_allclose(measured, errors, rtol=0.01)


def power_below(most):
    return 2.0 ** np.floor(np.log2(most))


@pytest.mark.parametrize("group", [1, 32])
def test_errors_of_scales_that_jump_by_monte_carlo(group):
    grid = lloyd_max(7)
    z = np.random.default_rng(group).standard_normal((200_000 // group, group))
    scale = power_below(np.abs(z).max(axis=1, keepdims=True))
    line = grid.points[:, 0]
    codes = np.abs((z / scale)[..., None] - line).argmin(axis=-1)
    errors = np.mean((z - scale * line[codes]) ** 2, axis=1)
    expected = absmax_error(grid, group, power_below)
    deviation = errors.std() / np.sqrt(errors.size)
    assert abs(errors.mean() - expected) <= 4 * deviation + 2e-3 * expected


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("n", "group"), [(2, 3), (5, 10), (8, 2), (16, 64)])
def test_errors_of_asymmetric_integers_by_monte_carlo(n, group, whole):
    z = np.random.default_rng(group).standard_normal((100_000 // group, group))
    low = np.minimum(z.min(axis=1, keepdims=True), 0)
    step = (np.maximum(z.max(axis=1, keepdims=True), 0) - low) / (n - 1)
    zero = np.round(-low / step) if whole else -low / step
    codes = np.clip(np.round(z / step + zero), 0, n - 1)
    errors = np.mean((z - step * (codes - zero)) ** 2, axis=1)
    deviation = errors.std() / np.sqrt(errors.size)
    assert (
        abs(errors.mean() - minmax_error(n, group, whole=whole))
        <= 5 * deviation + 2e-3 * errors.mean()
    )


def test_what_is_refused():
    with pytest.raises(ValueError, match="groups of 0 numbers: give 1 or more"):
        absmax_error(nf4(), 0)
    with pytest.raises(ValueError, match="p = 2 has no thresholds"):
        absmax_error(gaussian_grid(2, 16), 64)
    with pytest.raises(ValueError, match="groups of 1 numbers: give 2 or more"):
        minmax_error(16, 1)
    with pytest.raises(ValueError, match="a grid of 1 points: give 2 or more"):
        minmax_error(1, 64)
