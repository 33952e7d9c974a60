"""Blocks against Sylvester's matrix, the kernel against the plain form, refusals."""

import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from lowering import lower

from compressors.kernels import mosaic
from compressors.kernels.hadamard import (
    block_hadamard,
    block_hadamard_back,
    hadamard,
    mosaic_form,
    tile,
)


SIZES = [16, 64, 128, 512, 2048, 4096]
DTYPES = [jnp.float32, jnp.bfloat16, jnp.float16]
UNIT = {jnp.float32: 2.0**-24, jnp.bfloat16: 2.0**-8, jnp.float16: 2.0**-11}


def normal(shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32)).astype(dtype)


def exact(x, size):
    """By the matrix itself, in float64."""
    blocks = np.asarray(x, np.float64).reshape(-1, size)
    return (blocks @ scipy.linalg.hadamard(size) / np.sqrt(size)).reshape(x.shape)


def close(got, expected, dtype):
    """To a few roundings of numbers of size 1; for narrow types sums are cut to 16 bits before."""
    atol = 30 * 2.0**-24 if dtype == jnp.float32 else 2.0**-14
    got = np.asarray(got, np.float64)
    np.testing.assert_allclose(got, expected, rtol=2 * UNIT[dtype], atol=atol)


def interprets():
    try:
        return hasattr(mosaic.module(), "InterpretGPUParams")
    except NotImplementedError:
        return False


@cache
def jitted(function, size, **named):
    return jax.jit(partial(function, size=size, **named))


@pytest.mark.parametrize("backend", ["xla", "interpret"])
@pytest.mark.parametrize(
    ("size", "dtype"),
    [(size, jnp.float32) for size in SIZES] + [(s, t) for s in (32, 512) for t in DTYPES[1:]],
)
def test_every_block_is_multiplied_by_sylvesters_matrix(size, dtype, backend):
    x = normal((5, size), dtype)
    got = jitted(block_hadamard, size, backend=backend)(x)
    assert got.dtype == dtype
    close(got, exact(x, size), dtype)


@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_numbers_that_are_exact_come_out_exact(backend):
    x = jnp.asarray(np.random.default_rng(1).integers(-99, 99, (3, 512)), jnp.float32)
    np.testing.assert_array_equal(jitted(block_hadamard, 256, backend=backend)(x), exact(x, 256))


@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_large_and_small_numbers(backend):
    x = jnp.full(256, 3.4e38 / 16, jnp.float32)
    np.testing.assert_allclose(
        jitted(block_hadamard, 256, backend=backend)(x)[0], 3.4e38, rtol=1e-6
    )
    got = jitted(block_hadamard, 256, backend=backend)(normal(256) * 1e-30)
    close(np.asarray(got, np.float64) * 1e30, exact(normal(256), 256), jnp.float32)


def test_float64_is_computed_in_float64():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(3, 64)))
    np.testing.assert_allclose(block_hadamard(x, 64), exact(x, 64), rtol=0, atol=1e-14)


def test_one_block_is_the_transform_of_a_vector():
    x = normal(4096)
    np.testing.assert_array_equal(block_hadamard(x, 4096), hadamard(x))


@pytest.mark.parametrize("size", [16, 64])
def test_many_windows_are_one(size):
    x = normal((3, 2**17 + 64), seed=3)
    got = jitted(block_hadamard, size, seed=8)(x)
    close(jitted(block_hadamard_back, size, seed=8)(got), np.asarray(x, np.float64), jnp.float32)
    end = jnp.zeros_like(x[0]).at[-size:].set(x[2, -size:])
    close(jitted(block_hadamard, size, seed=8)(end)[-size:], got[2, -size:], jnp.float32)


@pytest.mark.parametrize("size", [16, 128])
@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_signs_are_undone(backend, size):
    x = normal((2, 3, 384))
    turn = jitted(block_hadamard, size, seed=2**32 - 1, backend=backend)
    z = turn(x)
    back = jitted(block_hadamard_back, size, seed=2**32 - 1, backend=backend)(z)
    close(back, np.asarray(x, np.float64), jnp.float32)
    assert np.abs(np.asarray(z) - exact(x, size)).max() > 1
    # The signs depend on the place in a row and on nothing else.
    close(turn(jnp.broadcast_to(x[1, 2], x.shape))[0, 0], z[1, 2], jnp.float32)


def test_signs_are_fair_coins_without_correlation():
    place = jnp.eye(64, dtype=jnp.float32)[0] * 8
    back = jax.jit(jax.vmap(lambda seed: block_hadamard_back(jnp.tile(place, 2), 64, seed=seed)))
    signs = np.asarray(back(jnp.arange(4000, dtype=jnp.uint32)), np.float64)
    np.testing.assert_array_equal(np.abs(signs), 1)
    assert np.abs(signs.mean(axis=0)).max() < 5 / np.sqrt(4000)
    assert np.abs(signs.T @ signs / 4000 - np.eye(128)).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize(("size", "x64"), [(32, True), (128, False), (2048, True)])
def test_the_kernel_is_the_plain_form(size, back, x64):
    with jax.enable_x64(x64):
        function = block_hadamard_back if back else block_hadamard
        x = normal((3, 3 * size), seed=4)
        kernel, plain = (
            jitted(function, size, seed=5, backend=backend)(x) for backend in ("interpret", "xla")
        )
        assert kernel.dtype == jnp.float32
        close(kernel, np.asarray(plain, np.float64), jnp.float32)


@pytest.mark.parametrize(("size", "seed"), [(16, None), (64, 5), (128, None), (1024, 5), (4096, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("x64", [True, False])
def test_it_lowers_for_an_h200(size, dtype, seed, x64):
    with jax.enable_x64(x64):
        x = jnp.zeros((3, 5 * size), dtype)
        assert "hadamard" in lower(
            partial(block_hadamard, size=size, seed=seed, backend="triton"), x
        )


def test_its_derivative_is_its_transpose():
    x, g = normal(96, seed=5), normal(96, seed=6)
    got = jax.jit(lambda x, g: jax.vjp(partial(block_hadamard, size=32, seed=7), x)[1](g)[0])(x, g)
    expected = jitted(block_hadamard_back, 32, seed=7)(g)
    close(got, np.asarray(expected, np.float64), jnp.float32)


@pytest.mark.parametrize("backend", ["xla", "interpret"])
@pytest.mark.parametrize("shape", [(0,), (0, 32), (3, 0)])
def test_nothing_stays_nothing(shape, backend):
    assert block_hadamard(jnp.zeros(shape), 32, backend=backend).shape == shape


@pytest.mark.parametrize("size", [0, 8, 24, 8192])
def test_other_sizes_are_refused(size):
    says = f"blocks of {size} numbers cannot be transformed: give a power of two from 16 to 4096"
    with pytest.raises(ValueError, match=says):
        block_hadamard(jnp.zeros(8192), size)


def test_what_does_not_fill_blocks_is_refused():
    says = "blocks of 64 numbers do not fill an axis of 100: pad it with zeros to 128"
    with pytest.raises(ValueError, match=says):
        block_hadamard(jnp.zeros((2, 100)), 64)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_of_more_bits_are_refused(seed):
    with pytest.raises(
        ValueError, match=f"seed = {seed} has more than 32 bits: give 0 to 4294967295"
    ):
        block_hadamard(jnp.zeros(16), 16, seed=seed)


def test_the_kernel_refuses_other_dtypes_and_more_than_32_bits_index():
    with pytest.raises(NotImplementedError, match="take float32, float16, bfloat16, not float64"):
        block_hadamard(jnp.zeros(16), 16, backend="interpret")
    huge = jax.ShapeDtypeStruct((2**31,), jnp.float32)
    with pytest.raises(NotImplementedError, match=re.escape("arrays of up to 2147483647 entries")):
        jax.eval_shape(lambda x: block_hadamard(x, 16, backend="triton"), huge)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "seed"), [(16, None), (64, 2), (128, None), (1024, 2), (4096, 2)])
def test_it_lowers_by_mosaic(size, dtype, seed):
    x = jnp.zeros((2, 64 * tile.width(size)), dtype)
    assert "mosaic_gpu" in lower(partial(block_hadamard, size=size, seed=seed, backend="mosaic"), x)


@pytest.mark.skipif(not interprets(), reason="this JAX does not interpret Mosaic GPU")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "back"), [(16, True), (512, True), (4096, False)])
def test_the_kernel_by_mosaic_is_the_plain_form(size, back, dtype):
    x, seed = normal((2, 64 * tile.width(size)), dtype, seed=7), jnp.uint32(4)
    kernel = mosaic_form.run(x, seed, size=size, back=back, interpret=True)
    function = block_hadamard_back if back else block_hadamard
    plain = jitted(function, size, seed=4)(x)
    assert kernel.dtype == dtype
    close(kernel, np.asarray(plain, np.float64), dtype)


def test_mosaic_refuses_what_is_not_whole_tiles():
    says = "takes multiples of 2048 numbers in blocks of 32, not 96: pad with zeros, or take"
    with pytest.raises(NotImplementedError, match=says):
        block_hadamard(jnp.zeros((3, 32), jnp.float32), 32, backend="mosaic")
