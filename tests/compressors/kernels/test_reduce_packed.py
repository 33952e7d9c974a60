"""The mean of messages against decoding each, for every form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lowering import lower

from compressors.kernels.hash import hash_words
from compressors.kernels.quantize_pack import (
    Affine,
    Levels,
    Powers,
    Signs,
    quantize_pack,
    unpack_dequantize,
)
from compressors.kernels.reduce_packed import reduce_packed


quantize = jax.jit(quantize_pack, static_argnames=("grid", "group_size"))
dequantize = jax.jit(unpack_dequantize, static_argnames=("grid", "k", "group_size"))
reduce = jax.jit(reduce_packed, static_argnames=("grid", "k", "group_size", "backend"))


CASES = [
    (Levels(7), 37, (), None),
    (Affine(3), 96, (5, 6), 17),
    (Powers(4), 45, (), None),
    (Signs(), 1, (5, 1), None),
    (Levels(1), 8 * 1024 + 3, (), None),
    (Levels(1), 0, (), None),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} {case[1]}")
def messages(request):
    grid, k, shape, group = request.param
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, k)), jnp.float32)
    scale = jnp.asarray(rng.uniform(1.0, 2.0, shape), jnp.float32)
    zero = jnp.full(shape, 2, jnp.int32) if grid.shifted else None
    seed = hash_words((jnp.uint32(1), jnp.uint32(2)), jnp.arange(2, dtype=jnp.uint32))
    seed = (seed[0], seed[1]) if grid.random else None
    words = quantize(x, grid, scale, zero=zero, seed=seed, group_size=group)
    return words, (grid, scale, k), {"zero": zero, "group_size": group}


@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_it_is_the_mean_of_the_decoded(messages, backend):
    words, arguments, options = messages
    mean = np.asarray(dequantize(words, *arguments, **options), np.float64).mean(axis=0)
    reduced = reduce(words, *arguments, **options, backend=backend)
    assert reduced.dtype == jnp.float32
    np.testing.assert_allclose(reduced, mean, rtol=1e-5, atol=1e-6)


def test_with_one_scale_the_sum_is_of_integers():
    """Float32 sums of 0.1 would be off in the seventh digit."""
    words = quantize_pack(jnp.full((10_000, 3), 0.1, jnp.float32), Levels(1), jnp.float32(0.1))
    mean = reduce_packed(words, Levels(1), jnp.float32(0.1), 3)
    np.testing.assert_allclose(mean, np.float32(0.1), rtol=1.3e-7)


def test_the_kernel_lowers(messages):
    words, arguments, options = messages
    if words.size:
        run = lower(
            lambda words: reduce_packed(words, *arguments, **options, backend="triton"), words
        )
        assert "triton" in run


def test_what_is_refused():
    one = jnp.float32(1)
    with pytest.raises(ValueError, match="the mean of 0 messages: give 1 to 8388608"):
        reduce_packed(jnp.zeros((0, 5), jnp.uint32), Levels(7), one, 40)
    with pytest.raises(ValueError, match=r"40 codes of Levels\(s=7\) fill 5 words, not 4"):
        reduce_packed(jnp.zeros((2, 4), jnp.uint32), Levels(7), one, 40)
    with pytest.raises(ValueError, match="do not fit rows"):
        reduce_packed(jnp.zeros((2, 5), jnp.uint32), Levels(7), jnp.ones(3, jnp.float32), 40)
    with pytest.raises(NotImplementedError, match="reduce_packed has no form for 'mosaic'"):
        reduce_packed(jnp.zeros((2, 5), jnp.uint32), Levels(7), one, 40, backend="mosaic")
