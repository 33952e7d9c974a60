import math

import numpy as np
import pytest
from scipy.spatial import cKDTree

from compressors.grids import train
from compressors.grids.vector import advance, begin, measure, plan


def sectors(n):
    """The error of n directions in the plane: E‖z‖ = √(π/2), and the mean of a cosine."""
    radius = math.sqrt(math.pi / 2) * math.sin(math.pi / n) / (math.pi / n)
    return (2 - radius**2) / 2


def test_three_points_in_the_plane():
    n = 3
    trained = train(2, n)
    grid = trained.grid
    np.testing.assert_allclose(grid.mse, sectors(n), rtol=2e-4)
    radii = np.linalg.norm(grid.points, axis=1)
    np.testing.assert_allclose(radii, math.sqrt(2 - 2 * sectors(n)), rtol=2e-3)
    np.testing.assert_allclose(grid.points.sum(axis=0), 0, atol=5e-3)
    assert abs(trained.residual) <= 1e-5
    assert abs(trained.moment_gap) <= 1e-3


def test_a_measurement_agrees_with_a_simple_one():
    points = np.random.default_rng(0).standard_normal((20, 3))
    measured = measure(points)
    z = np.random.default_rng(1).standard_normal((400_000, 3))
    distance, nearest = cKDTree(measured.grid.points).query(z)
    squares = distance**2 / 3
    deviation = squares.std() / math.sqrt(squares.size)
    assert abs(squares.mean() - measured.grid.mse) <= 5 * math.hypot(
        deviation, measured.grid.mse_error
    )
    assert measured.grid.mse_error < deviation
    q = measured.grid.points[nearest]
    gap = np.mean(np.sum(q * q, axis=1)) / 3 - (1 - measured.grid.mse)
    assert abs(gap - measured.moment_gap) <= 0.01
    moves = 0.0
    for j, point in enumerate(measured.grid.points):
        cell = z[nearest == j]
        moves += len(cell) / len(z) * np.sum((cell.mean(axis=0) - point) ** 2)
    np.testing.assert_allclose(measured.residual, moves / 3 / measured.grid.mse, rtol=0.02)


def test_points_come_sorted_and_in_float32():
    points = np.array([[1.0, 0.0], [-1.0, 2.0], [-1.0, -2.0]])
    grid = measure(points).grid
    assert grid.points.dtype == np.float32
    np.testing.assert_array_equal(grid.points, [[-1, -2], [-1, 2], [1, 0]])


def test_rounds_are_the_same_from_run_to_run():
    a = b = begin(3, 10)
    for _ in range(5):
        a = advance(a)
    for _ in range(5):
        b = advance(b)
    np.testing.assert_array_equal(a.points, b.points)
    assert np.abs(advance(a).points - a.points).max() > 0


@pytest.mark.parametrize(
    ("p", "n", "message"),
    [
        (1, 16, "p = 1 to train: give 2, 3 or 4, or see lloyd_max"),
        (5, 16, "p = 5 to train"),
        (2, 1, "n = 1 points to train: give from 2 to 65536"),
        (2, 70_000, "n = 70000 points to train"),
    ],
)
def test_sizes_that_are_refused(p, n, message):
    with pytest.raises(ValueError, match=message):
        plan(p, n)
    with pytest.raises(ValueError, match=message):
        train(p, n)
