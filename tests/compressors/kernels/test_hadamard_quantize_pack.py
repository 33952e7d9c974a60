"""Codes against brute force, the kernels against the plain form, refusals."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from lowering import lower

from compressors._gaussian_grid import lloyd_max
from compressors.kernels.hadamard_quantize_pack import (
    hadamard_quantize_pack,
    hadamard_unpack_dequantize,
)
from compressors.kernels.pack import unpack


GRIDS = [(2, 1), (19, 1), (256, 1), (16, 2), (88, 2)]


def normal(shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32)).astype(dtype)


def points(n, p):
    """In no order."""
    return normal((n, p), seed=100 + n)


@cache
def compiled(function, **named):
    return jax.jit(partial(function, **named))


def encode(x, grid, size, **named):
    return compiled(hadamard_quantize_pack, size=size, **named)(x, grid)


def decode(words, scales, grid, size, **named):
    return compiled(hadamard_unpack_dequantize, size=size, **named)(words, scales, grid)


def codes_of(words, grid, d):
    n, p = grid.shape
    return np.asarray(unpack(words, (n - 1).bit_length(), d // p))


def rotated(x, size):
    """Blocks over their root mean square, turned; and the latter. In float64."""
    blocks = np.asarray(x, np.float64).reshape(-1, size)
    s = np.sqrt((blocks**2).mean(axis=1, keepdims=True))
    return blocks / s @ scipy.linalg.hadamard(size) / np.sqrt(size), s[:, 0]


def squared_distances(z, grid):
    p = grid.shape[1]
    return ((z.reshape(-1, 1, p) - np.asarray(grid, np.float64)[None]) ** 2).sum(axis=2)


@pytest.mark.parametrize(("n", "p"), GRIDS)
def test_codes_are_of_the_nearest_points(n, p):
    x, grid = normal((2, 256)) * 7, points(n, p)
    words, scales = encode(x, grid, 64)
    z, s = rotated(x, 64)
    np.testing.assert_allclose(scales.reshape(-1), s, rtol=1e-6)
    assert scales.dtype == jnp.float32
    distances = squared_distances(z, grid)
    chosen = distances[np.arange(len(distances)), codes_of(words, grid, 256).reshape(-1)]
    np.testing.assert_allclose(chosen, distances.min(axis=1), rtol=1e-5, atol=1e-5)
    # Elsewhere than next to the end of a cell there is one nearest point, and it is the one.
    clear = np.sort(distances, axis=1)[:, 1] > distances.min(axis=1) + 1e-5
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(
        codes_of(words, grid, 256).reshape(-1)[clear], distances.argmin(axis=1)[clear]
    )


@pytest.mark.parametrize(("n", "p"), GRIDS)
def test_the_way_back_is_the_look_up_turned(n, p):
    x, grid = normal((2, 256)), points(n, p)
    words, scales = encode(x, grid, 64)
    z = np.asarray(grid, np.float64)[codes_of(words, grid, 256)].reshape(-1, 64)
    turned = z @ scipy.linalg.hadamard(64) / 8 * np.asarray(scales, np.float64).reshape(-1, 1)
    got = decode(words, scales, grid, 64)
    np.testing.assert_allclose(got, turned.reshape(2, 256), rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", [None, 9])
@pytest.mark.parametrize("bits", [2, 4])
def test_the_error_is_that_of_the_gaussian_grid(bits, seed):
    gauss = lloyd_max(bits)
    x, grid = normal((64, 4096)), jnp.asarray(gauss.points, jnp.float32)[:, None]
    words, scales = encode(x, grid, 1024, seed=seed)
    y = decode(words, scales, grid, 1024, seed=seed)
    assert words.shape == (64, 4096 * bits // 32)
    assert float(jnp.sum((x - y) ** 2) / jnp.sum(x**2)) == pytest.approx(gauss.distortion, rel=0.03)


def test_signs_spread_what_the_transform_alone_concentrates():
    x = jnp.ones((1, 1024))
    grid = jnp.asarray(lloyd_max(4).points, jnp.float32)[:, None]
    error = {
        seed: float(
            jnp.mean((decode(*encode(x, grid, 1024, seed=seed), grid, 1024, seed=seed) - 1) ** 2)
        )
        for seed in (None, 0)
    }
    assert error[None] > 0.5
    assert error[0] < 0.02


def test_ties_go_to_the_smaller_number_and_to_the_first_pair():
    x = jnp.zeros(16).at[0].set(4.0)
    # Turned and scaled it is all ones.
    codes = codes_of(encode(x, jnp.asarray([[2.0], [0.0], [9.0]]), 16)[0], points(3, 1), 16)
    np.testing.assert_array_equal(codes, 1)
    grid = jnp.asarray([[9.0, 9.0], [1.0, 2.0], [2.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(codes_of(encode(x, grid, 16)[0], grid, 16), 1)


@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_any_magnitude_and_what_is_not_finite(backend):
    x, grid = normal((1, 2048)), points(16, 1)
    usual, scales = encode(x, grid, 512, backend=backend)
    for power in (2.0**-60, 2.0**100):
        words, scaled = encode(x * power, grid, 512, backend=backend)
        np.testing.assert_array_equal(words, usual)
        np.testing.assert_array_equal(scaled, scales * power)
    odd = x.at[0, 3].set(jnp.nan).at[0, 600].set(-jnp.inf).at[0, 1024:1536].set(0)
    words, scales = encode(odd, grid, 512, backend=backend)
    back = np.asarray(decode(words, scales, grid, 512, backend=backend)).reshape(4, 512)
    assert not np.isfinite(back[:2]).any()
    assert (back[2] == 0).all()
    assert np.isfinite(back[3]).all()


KERNELS = [
    (16, 6, 1, 8192),
    (128, 16, 1, 2048),
    (4096, 256, 1, 4096),
    (256, 16, 2, 2048),
    (1024, 40, 2, 4096),
]


@pytest.mark.parametrize(
    ("size", "n", "p", "d", "x64"),
    [(*sizes, index % 2 == 0) for index, sizes in enumerate(KERNELS)],
)
def test_the_kernels_are_the_plain_form(size, n, p, d, x64):
    with jax.enable_x64(x64):
        # Numbers that both ways of turning give exactly, so that codes agree bit for bit.
        x = jnp.asarray(np.random.default_rng(size).integers(-9, 10, (2, d)), jnp.float32)
        grid = points(n, p)
        (words, scales), (kernel_words, kernel_scales) = (
            encode(x, grid, size, seed=3, backend=backend) for backend in ("xla", "interpret")
        )
        if size.bit_length() % 2:
            np.testing.assert_array_equal(kernel_words, words)
        else:
            assert np.mean(np.asarray(kernel_words) != np.asarray(words)) < 1e-3
        np.testing.assert_array_equal(kernel_scales, scales)
        plain, kernel = (
            decode(words, scales, grid, size, seed=3, backend=backend)
            for backend in ("xla", "interpret")
        )
        np.testing.assert_allclose(kernel, plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_types(dtype):
    x, grid = normal((2, 2048), dtype=dtype), points(16, 1)
    expected = encode(x.astype(jnp.float32), grid, 256)
    for backend in ("xla", "interpret"):
        words, scales = encode(x, grid, 256, backend=backend)
        differ = codes_of(words, grid, 2048) != codes_of(expected[0], grid, 2048)
        assert differ.mean() < 1e-3
        np.testing.assert_allclose(scales, expected[1], rtol=1e-6)
        back = decode(words, scales.astype(dtype), grid, 256, dtype=dtype, backend=backend)
        assert back.dtype == dtype
        whole = np.asarray(decode(words, scales.astype(dtype), grid, 256), np.float64)
        np.testing.assert_allclose(np.asarray(back, np.float64), whole, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("size", "n", "p", "d", "x64"),
    [(*KERNELS[0], True), (*KERNELS[2], False), (*KERNELS[4], True), (*KERNELS[4], False)],
)
def test_they_lower_for_an_h200(size, n, p, d, x64):
    with jax.enable_x64(x64):
        x, grid = jnp.zeros((3, d), jnp.bfloat16), points(n, p)
        words, scales = jax.eval_shape(partial(hadamard_quantize_pack, size=size), x, grid)
        lower(partial(hadamard_quantize_pack, size=size, seed=1, backend="triton"), x, grid)
        run = partial(hadamard_unpack_dequantize, size=size, dtype=jnp.float16, backend="triton")
        lower(run, words, scales, grid)


@pytest.mark.parametrize("backend", ["xla", "interpret"])
@pytest.mark.parametrize("shape", [(0,), (0, 64)])
def test_nothing_stays_nothing(shape, backend):
    words, scales = hadamard_quantize_pack(jnp.zeros(shape), points(4, 1), 32, backend=backend)
    back = hadamard_unpack_dequantize(words, scales, points(4, 1), 32, backend=backend)
    assert back.shape == shape


@pytest.mark.parametrize(("n", "p"), [(1, 1), (257, 1), (4, 3)])
def test_other_grids_are_refused(n, p):
    with pytest.raises(ValueError, match=f"a grid of {n} points in {p} dimensions is not served"):
        hadamard_quantize_pack(jnp.zeros(64), points(n, p), 64)


def test_words_of_another_size_are_refused():
    with pytest.raises(
        ValueError, match="2 scales of blocks of 32 numbers come with 8 words a row"
    ):
        hadamard_unpack_dequantize(jnp.zeros(9, jnp.uint32), jnp.ones(2), points(16, 1), 32)


def test_blocks_that_do_not_fill_a_row_are_refused():
    with pytest.raises(ValueError, match="blocks of 32 numbers do not fill an axis of 40"):
        hadamard_quantize_pack(jnp.zeros(40), points(4, 1), 32)


def test_the_kernels_refuse_rows_that_are_not_whole_tiles():
    says = "takes rows of multiples of 2048 numbers where blocks have 256 and codes 4 bits, not of"
    with pytest.raises(NotImplementedError, match=says):
        hadamard_quantize_pack(jnp.zeros(512, jnp.float32), points(16, 1), 256, backend="interpret")
    with pytest.raises(NotImplementedError, match=says):
        hadamard_unpack_dequantize(
            jnp.zeros(64, jnp.uint32), jnp.ones(2), points(16, 1), 256, backend="interpret"
        )


def test_the_kernels_refuse_float64():
    with pytest.raises(NotImplementedError, match="take float32, float16, bfloat16, not float64"):
        hadamard_quantize_pack(jnp.zeros(2048), points(16, 1), 256, backend="interpret")
