"""Floats at the ends of their range, and what is made of them by those that divide by a norm."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import (
    EDEN,
    CorrelatedQuantization,
    IndependentQuantization,
    NaturalDithering,
    RandomDithering,
    RankR,
    ScaledSign,
    Sign,
    Ternary,
    Top1Sampling,
    UniformEDEN,
)
from compressors._float import bits_of, largest, magnitude_bits, quotient


KEY = jax.random.key(3)
DTYPES = [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64]

QUOTIENT = jax.jit(quotient)


def member(family):
    return family.member(coin=jax.random.key(4), rank=1, n=2)


SCALED_BY_A_NORM = [
    EDEN(1),
    EDEN(4),
    NaturalDithering(3),
    RandomDithering(2, 1),
    RankR(1, (2, 2)),
    ScaledSign(),
    Ternary(),
    Top1Sampling(),
    UniformEDEN(2),
    member(CorrelatedQuantization()),
    member(CorrelatedQuantization(5, "max")),
    member(IndependentQuantization()),
    member(IndependentQuantization(3, "max", rotated=True)),
]

LONG = [RandomDithering(2, math.inf), ScaledSign(), Sign(), Ternary(), EDEN(1), Top1Sampling()]


@jax.jit
def results(x):
    return [one.expand(one.compress(x, key=KEY)) for one in SCALED_BY_A_NORM]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_vectors_of_any_size_are_compressed_alike(dtype):
    """C(c·x) = c·C(x) for powers c of two, from the smallest numbers to the largest.

    The 1-norm, 1.625, is a number where the largest entry is within a factor of two of the end.
    """
    limits, x = jnp.finfo(dtype), np.array([0.5, -0.75, 0.25, 0.125])
    expected = [np.asarray(y, np.float64) for y in results(jnp.asarray(x, dtype))]
    for exponent in (int(limits.minexp) + 6, int(limits.maxexp) - 1):
        factor = 2.0**exponent
        got = results(jnp.asarray(x * factor, dtype))
        for one, y, z in zip(SCALED_BY_A_NORM, expected, got, strict=True):
            inside = np.where(np.abs(y) * factor <= float(limits.max), y, np.copysign(np.inf, y))
            np.testing.assert_allclose(
                np.asarray(z, np.float64) / factor, inside, rtol=1e-5, atol=1e-5, err_msg=str(one)
            )


@pytest.mark.parametrize("ends", [(-1e38, 2e38), (-2e-38, 4e-38), (-3e38, 3e38)])
def test_given_intervals_of_any_size(ends):
    """At its ends a member makes no error."""
    one = IndependentQuantization(3, ends).member(coin=KEY, rank=0, n=1)
    x = jnp.asarray([ends[0], ends[1], ends[0]], jnp.float32)
    run = jax.jit(lambda x: one.expand(one.compress(x, key=KEY)))
    np.testing.assert_allclose(run(x), x, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quotients_at_the_ends(dtype):
    limits = jnp.finfo(dtype)
    share = np.array([1.0, -0.5, 0.25, 0.0])
    for by in (1.0, 3.0, float(limits.max), float(limits.max) / 2, 8 * float(limits.tiny)):
        by = jnp.asarray(by, dtype)
        x = jnp.asarray(share, dtype) * by
        got = np.asarray(QUOTIENT(x, by), np.float64)
        np.testing.assert_allclose(got, share, rtol=2 * float(limits.eps))
    zero = jnp.zeros(4, dtype)
    assert not np.asarray(QUOTIENT(zero, zero[0])).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_in_the_order_of_magnitudes(dtype):
    limits = jnp.finfo(dtype)
    ends = [0.0, float(limits.smallest_subnormal), float(limits.tiny), 1.0, float(limits.max)]
    x = jnp.asarray([*ends, math.inf, math.nan], dtype)
    bits = np.asarray(magnitude_bits(-x))
    np.testing.assert_array_equal(bits, bits_of(x))
    assert (bits[1:] > bits[:-1]).all()
    assert float(largest(-x[:5])) == float(limits.max)


@jax.jit
def finite_and_bad(x, value):
    """`largest`, and whether results are finite, of `x` and of `x` with `value` in one place."""
    both = jnp.stack([x, x.at[7].set(value)])
    results = [
        jax.vmap(lambda x, one=one: one.expand(one.compress(x, key=KEY)))(both) for one in LONG
    ]
    return jax.vmap(largest)(both), [jnp.isfinite(y).all(axis=1) for y in results]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_a_nan_among_many_numbers_is_not_lost(dtype):
    """XLA's maximum over thousands of numbers forgets it."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal(8192), dtype)
    for value in (math.nan, -math.inf):
        size, finite = finite_and_bad(x, value)
        assert float(size[0]) == float(np.abs(np.asarray(x, np.float64)).max())
        assert not np.isfinite(float(size[1]))
        for one, (before, after) in zip(LONG, finite, strict=True):
            assert before, str(one)
            assert not after, str(one)
