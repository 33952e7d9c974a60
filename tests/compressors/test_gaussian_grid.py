import math

import numpy as np
import pytest
from scipy.integrate import quad

from compressors._gaussian_grid import grid_omega_bound, lloyd_max, sign_omega


@pytest.mark.parametrize(
    ("bits", "positive", "distortion"),
    [
        (1, [0.7979], 0.3634),
        (2, [0.4528, 1.510], 0.1175),
        (3, [0.2451, 0.7560, 1.344, 2.152], 0.03454),
        (4, [0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733], 0.009497),
    ],
)
def test_grids_are_those_of_max(bits, positive, distortion):
    """Joel Max, "Quantizing for minimum distortion", 1960, Table I, four digits."""
    grid = lloyd_max(bits)
    np.testing.assert_allclose(grid.points[2 ** (bits - 1) :], positive, rtol=4e-4)
    np.testing.assert_allclose(grid.distortion, distortion, rtol=1e-3)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_grids_are_stationary_and_symmetric(bits):
    points, thresholds, distortion = lloyd_max(bits)
    np.testing.assert_array_equal(points, -points[::-1])
    np.testing.assert_allclose(thresholds, (points[1:] + points[:-1]) / 2)

    def cell(i, power):
        low, high = ([-12.0, *thresholds, 12.0][j] for j in (i, i + 1))
        return quad(lambda g: g**power * math.exp(-g * g / 2), low, high, epsabs=0)[0]

    for i in range(0, len(points), max(1, len(points) // 8)):
        np.testing.assert_allclose(points[i], cell(i, 1) / cell(i, 0), rtol=1e-9)
    total = sum(cell(i, 2) - 2 * p * cell(i, 1) + p * p * cell(i, 0) for i, p in enumerate(points))
    np.testing.assert_allclose(total / math.sqrt(2 * math.pi), distortion, rtol=1e-6)


def squared_tangents(bits, d, draws=20_000):
    rng = np.random.default_rng(d)
    z = rng.normal(size=(draws, d))
    z *= math.sqrt(d) / np.linalg.norm(z, axis=1, keepdims=True)
    points, thresholds, _ = lloyd_max(bits)
    q = points[np.searchsorted(thresholds, z)]
    return d * np.sum(q * q, axis=1) / np.sum(z * q, axis=1) ** 2 - 1


@pytest.mark.parametrize("d", [1, 2, 3, 10, 100])
def test_one_bit_on_a_sphere(d):
    measured = squared_tangents(1, d)
    error = measured.std() / math.sqrt(measured.size)
    assert abs(measured.mean() - sign_omega(d)) <= 5 * error + 1e-12
    assert sign_omega(d) < sign_omega(d + 1) < sign_omega(8192) < math.pi / 2 - 1


def test_one_bit_in_closed_form():
    np.testing.assert_allclose(sign_omega(2), 4 / math.pi - 1)
    np.testing.assert_allclose(sign_omega(100_000), math.pi / 2 - 1, rtol=1e-4)


@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("d", [1, 2, 3, 30, 300])
def test_the_bound_is_one(bits, d):
    measured = squared_tangents(bits, d, 2000)
    error = measured.std() / math.sqrt(measured.size)
    assert measured.mean() - 5 * error <= grid_omega_bound(bits, d) + 1e-12


@pytest.mark.parametrize("bits", [2, 4])
def test_the_bound_comes_down_to_the_limit(bits):
    distortion = lloyd_max(bits).distortion
    limit = distortion / (1 - distortion)
    assert limit < grid_omega_bound(bits, 10**6) < 1.05 * limit
