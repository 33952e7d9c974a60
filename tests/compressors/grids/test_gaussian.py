import math
import re

import numpy as np
import pytest
from scipy.spatial import cKDTree

from compressors.grids import gaussian_grid, lloyd_max, load_grid, shipped_sizes
from compressors.grids.gaussian import FOLDER


SHIPPED = [(p, n) for p in (2, 3, 4) for n in shipped_sizes(p)]
DRAWS = 1 << 17


@pytest.mark.parametrize(("p", "n"), SHIPPED)
def test_errors_by_monte_carlo(p, n):
    grid = gaussian_grid(p, n)
    assert grid.points.shape == (n, p)
    assert grid.points.dtype == np.float32
    z = np.random.default_rng((p, n)).standard_normal((DRAWS, p))
    distance, nearest = cKDTree(grid.points).query(z)
    squares = distance**2 / p
    deviation = math.hypot(squares.std() / math.sqrt(DRAWS), grid.mse_error)
    assert abs(squares.mean() - grid.mse) <= 5 * deviation
    assert grid.mse_error <= 5e-4 * grid.mse
    mean = grid.points[nearest].mean(axis=0)
    assert np.abs(mean).max() <= 6 / math.sqrt(DRAWS)


@pytest.mark.parametrize(("p", "n"), SHIPPED)
def test_grids_are_stationary(p, n):
    trained = load_grid(FOLDER / f"gaussian_{p}_{n}.npz")
    assert abs(trained.residual) <= 2e-3
    assert abs(trained.moment_gap) <= 5e-4
    assert trained.samples >= 1 << 20


@pytest.mark.parametrize(
    ("p", "n", "published", "deviation"),
    [
        (2, 16, 0.10757, 0.00005),
        (2, 64, 0.02959, 0.00002),
        (2, 256, 0.007754, 0.000005),
        (4, 256, 0.09650, 0.00004),
    ],
)
def test_grids_are_as_good_as_published_ones(p, n, published, deviation):
    assert gaussian_grid(p, n).mse <= published + 3 * deviation
    assert gaussian_grid(p, n).mse >= 0.99 * published


@pytest.mark.parametrize(("p", "n"), SHIPPED)
def test_vectors_beat_numbers_and_no_code_beats_the_rate(p, n):
    grid = gaussian_grid(p, n)
    assert grid.mse > 2 ** (-2 * grid.bits)
    assert grid.mse < lloyd_max(math.floor(2**grid.bits)).mse


def test_more_points_are_better():
    for p in (2, 3, 4):
        errors = [gaussian_grid(p, n).mse for n in shipped_sizes(p)]
        assert errors == sorted(errors, reverse=True)


def test_the_files_are_small():
    files = list(FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) < 1 << 20
    assert all(re.fullmatch(r"gaussian_[234]_\d+\.npz", file.name) for file in files)


def test_a_size_that_is_not_there():
    with pytest.raises(
        ValueError, match=r"no grid of p = 2 with n = 100 points .* 16, 64, .*--n 100"
    ):
        gaussian_grid(2, 100)
    with pytest.raises(ValueError, match=r"no grid of p = 7 .* none"):
        gaussian_grid(7, 16)


@pytest.mark.parametrize("kept", [0, 100, 700])
def test_a_file_that_is_cut(tmp_path, kept):
    path = tmp_path / "gaussian_2_64.npz"
    path.write_bytes((FOLDER / path.name).read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"is no file of a grid .*: compute it anew"):
        load_grid(path)


def test_files_of_something_else(tmp_path):
    np.savez(tmp_path / "other.npz", points=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="is no file of a grid"):
        load_grid(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        load_grid(tmp_path / "absent.npz")
