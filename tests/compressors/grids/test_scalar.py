import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from compressors.grids import constrained_uniform, gaussian_grid, lloyd_max
from compressors.grids.scalar import scalar_mse


@pytest.mark.parametrize(
    ("n", "mse", "positive"),
    [
        (2, 0.36338023, [0.797885]),
        (3, 0.19017404, [0, 1.224006]),
        (4, 0.11748185, [0.452780, 1.510418]),
        (8, 0.03454776, [0.245094, 0.756005, 1.343909, 2.151946]),
        (
            16,
            0.00950101,
            [0.128395, 0.388048, 0.656759, 0.942340, 1.256231, 1.618046, 2.069017, 2.732590],
        ),
        (32, 0.00250467, None),
        (64, 0.00064424, None),
    ],
)
def test_grids_of_lloyd_and_max(n, mse, positive):
    grid = lloyd_max(n)
    assert abs(grid.mse - mse) <= 6e-9
    if positive is not None:
        np.testing.assert_allclose(grid.points[n // 2 :, 0], positive, atol=6e-7)


@pytest.mark.parametrize(
    ("n", "step", "mse"),
    [
        (4, 0.995687, 0.11884605),
        (8, 0.586019, 0.03743966),
        (16, 0.335201, 0.01154288),
        (32, 0.188139, 0.00349521),
        (64, 0.104063, 0.00104005),
        (256, 0.030762, 0.00008769),
    ],
)
def test_equally_spaced_grids(n, step, mse):
    grid = constrained_uniform(n)
    np.testing.assert_allclose(np.diff(grid.points[:, 0]), step, atol=6e-7)
    assert abs(grid.mse - mse) <= 6e-9


def integral(grid, i, power, centre=0.0):
    edges = [-14.0, *grid.thresholds, 14.0]
    density = math.sqrt(2 * math.pi)

    def integrand(z):
        return (z - centre) ** power * math.exp(-z * z / 2) / density

    return quad(integrand, edges[i], edges[i + 1], epsabs=1e-15, epsrel=1e-11)[0]


@pytest.mark.parametrize("n", [2, 3, 5, 19, 88, 361])
def test_points_are_the_means_of_their_cells(n):
    grid = lloyd_max(n)
    np.testing.assert_array_equal(grid.points, -grid.points[::-1])
    for i in (i for i in range(0, n, max(1, n // 9)) if grid.points[i, 0]):
        mean = integral(grid, i, 1) / integral(grid, i, 0)
        np.testing.assert_allclose(grid.points[i, 0], mean, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("grid", [lloyd_max(7), lloyd_max(64), constrained_uniform(6)])
def test_the_error_is_the_integral(grid):
    total = sum(integral(grid, i, 2, float(point)) for i, point in enumerate(grid.points[:, 0]))
    np.testing.assert_allclose(grid.mse, total, rtol=1e-10)


def test_the_error_tends_to_that_of_panter_and_dite():
    """n²·D rises to (∫φ^(1/3))³/12 = √3·π/2."""
    scaled = [n * n * lloyd_max(n).mse for n in (256, 1000, 4096)]
    assert scaled == sorted(scaled)
    np.testing.assert_allclose(scaled[-1], math.sqrt(3) * math.pi / 2, rtol=1e-3)


@pytest.mark.parametrize("n", [2, 3, 15, 48, 4096])
def test_no_other_step_is_better(n):
    units = np.arange(n) - (n - 1) / 2
    best = constrained_uniform(n)
    near = best.points[1, 0] - best.points[0, 0]
    found = minimize_scalar(lambda s: scalar_mse(s * units), bounds=(near / 3, 3 * near))
    assert best.mse <= found.fun + 1e-15
    np.testing.assert_allclose(near, found.x, rtol=1e-3)
    assert best.mse >= lloyd_max(n).mse - 1e-15


def test_every_n_has_a_better_grid_than_the_one_before():
    errors = [lloyd_max(n).mse for n in range(2, 130)]
    assert all(b < a for a, b in itertools.pairwise(errors))
    assert gaussian_grid(1, 19) is lloyd_max(19)


@pytest.mark.parametrize("n", [-1, 0, 1, 16385])
@pytest.mark.parametrize("family", [lloyd_max, constrained_uniform])
def test_sizes_that_are_refused(family, n):
    with pytest.raises(ValueError, match=f"n = {n} points: give from 2 to 16384"):
        family(n)
