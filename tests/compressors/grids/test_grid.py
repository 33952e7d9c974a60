import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors.grids import Grid, fp4, gaussian_grid, integer, lloyd_max, nf4
from compressors.kernels.pack import pack, unpack


def brute_force(grid, x):
    vectors = np.asarray(x, np.float64).reshape(-1, 1, grid.p)
    return np.sum((vectors - grid.points[None].astype(np.float64)) ** 2, axis=2)


@pytest.mark.parametrize(
    "grid",
    [
        lloyd_max(2),
        lloyd_max(19),
        lloyd_max(300),
        nf4(),
        fp4(),
        integer(3, 3.5),
        gaussian_grid(2, 16),
        gaussian_grid(2, 361),
        gaussian_grid(3, 64),
        gaussian_grid(4, 256),
    ],
    ids=lambda grid: f"{grid.p}-{grid.n}",
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_nearest_point(grid, dtype):
    x = 1.2 * jax.random.normal(jax.random.key(grid.n), (3, 5, 48), dtype)
    codes = grid.nearest(x)
    assert codes.shape == (3, 5, 48 // grid.p)
    assert codes.dtype == (jnp.uint8 if grid.n <= 256 else jnp.uint16)
    distances = brute_force(grid, x)
    taken = distances[np.arange(len(distances)), np.asarray(codes).ravel()]
    np.testing.assert_allclose(
        taken, distances.min(axis=1), atol=1e-5 if dtype != jnp.float64 else 1e-13
    )
    decoded = grid.decode(codes, dtype)
    assert decoded.shape == x.shape
    error = np.sum((np.asarray(decoded - x, np.float64)) ** 2)
    np.testing.assert_allclose(error, taken.sum(), rtol=1e-5)


def test_blocks_change_nothing():
    grid = gaussian_grid(2, 361)
    x = jax.random.normal(jax.random.key(0), (20_001, 2))
    whole = grid.nearest(x)
    parts = jnp.concatenate([grid.nearest(x[:7]), grid.nearest(x[7:])])
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(jax.jit(grid.nearest)(x), whole)


@pytest.mark.parametrize("grid", [lloyd_max(8), lloyd_max(88), gaussian_grid(3, 64)])
def test_points_are_their_own_nearest(grid):
    own = jnp.asarray(grid.points).reshape(-1)
    np.testing.assert_array_equal(grid.nearest(own), np.arange(grid.n))
    np.testing.assert_array_equal(grid.decode(grid.nearest(own), jnp.float64), own)


def test_ties_go_to_the_lowest_code():
    line = Grid(np.array([[-1.0], [1.0], [3.0]]), 1.0)
    np.testing.assert_array_equal(line.nearest(jnp.array([0.0, 2.0])), [0, 1])
    square = Grid(np.array([[-1.0, 0.0], [0.0, -1.0], [0.0, 1.0], [1.0, 0.0]]), 1.0)
    np.testing.assert_array_equal(square.nearest(jnp.array([0.0, 0.0, 1.0, 1.0])), [0, 2])


def test_narrow_numbers_are_compared_in_float32():
    x = jax.random.normal(jax.random.key(3), (64,), jnp.bfloat16)
    grid = gaussian_grid(2, 256)
    np.testing.assert_array_equal(grid.nearest(x), grid.nearest(x.astype(jnp.float32)))
    assert grid.decode(grid.nearest(x), jnp.bfloat16).dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(0,), (4, 0), (0, 6)])
@pytest.mark.parametrize("p", [1, 2])
def test_nothing_to_round(shape, p):
    grid = gaussian_grid(p, 16)
    codes = grid.nearest(jnp.zeros(shape))
    assert codes.shape == (*shape[:-1], shape[-1] // p)
    assert grid.decode(codes).shape == shape


def test_bits_of_a_code():
    for grid, width in (
        (lloyd_max(2), 1),
        (lloyd_max(19), 5),
        (gaussian_grid(2, 88), 7),
        (fp4(), 4),
    ):
        assert grid.width == width
        assert math.isclose(grid.bits, math.log2(grid.n) / grid.p)


def test_codes_pack_into_their_width():
    grid = gaussian_grid(2, 88)
    codes = grid.nearest(jax.random.normal(jax.random.key(1), (200,)))
    words = pack(codes, grid.width)
    np.testing.assert_array_equal(unpack(words, grid.width, codes.size), codes)


def test_a_grid_is_frozen():
    grid = lloyd_max(4)
    with pytest.raises(ValueError, match="read-only"):
        grid.points[0, 0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.mse = 0.0


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0.0]], "a grid of 1 points: give 2 or more"),
        ([[0.0], [math.nan]], "not finite"),
        ([[0.0, 1.0], [0.0, 1.0]], "given twice"),
        ([[1.0], [0.0]], "not in rising order: sort them"),
    ],
)
def test_points_that_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        Grid(np.array(points), 1.0)


def test_axes_that_do_not_split():
    with pytest.raises(ValueError, match=r"an axis of 577 numbers .* p = 2: pad it to 578"):
        gaussian_grid(2, 16).nearest(jnp.zeros((2, 577)))
    with pytest.raises(ValueError, match="p = 2 has no thresholds"):
        _ = gaussian_grid(2, 16).thresholds
