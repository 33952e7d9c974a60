import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import read_planar

from compressors import Contractive, ScaledSign, Sign, Unbiased


KEY = jax.random.key(0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=6, max_size=6))
def test_the_error_is_that_of_the_docstring(entries):
    x = np.array(entries, float)
    y = np.asarray(ScaledSign().expand(ScaledSign().compress(jnp.asarray(x), key=KEY)))
    one = np.abs(x).sum()
    error = float(((y - x) ** 2).sum())
    assert error == pytest.approx(float(x @ x) - one**2 / 6, abs=1e-12)
    assert error <= (1 - ScaledSign().alpha(6).value) * float(x @ x) + 1e-12


def test_alpha_is_attained_by_one_hot_vectors():
    x = jnp.zeros(7).at[3].set(-2.0)
    y = ScaledSign().expand(ScaledSign().compress(x, key=KEY))
    np.testing.assert_allclose(jnp.abs(y), 2 / 7)
    assert float(((y - x) ** 2).sum()) == pytest.approx((1 - ScaledSign().alpha(7).value) * 4)
    assert ScaledSign().alpha(7).kind == "exact"


@pytest.mark.parametrize("compressor", [ScaledSign(), Sign()], ids=str)
def test_zero_stays_zero(compressor):
    for zero in (0.0, -0.0):
        y = compressor.expand(compressor.compress(jnp.full(5, zero), key=KEY))
        assert not np.asarray(y).any()


@pytest.mark.parametrize("compressor", [ScaledSign(), Sign()], ids=str)
def test_code_j_says_that_entry_j_is_negative(compressor):
    x = jax.random.normal(KEY, (70,), jnp.float32).at[5].set(-0.0)
    message = compressor.encode(x, key=KEY)
    negative = [math.copysign(1, value) < 0 for value in x.tolist()]
    assert read_planar(message["words"], 1, 96) == negative + [0] * 26


def test_bits():
    assert ScaledSign().payload_bits(70, jnp.bfloat16) == 70 + 32
    assert ScaledSign().nbits(70, jnp.bfloat16) == 96 + 32
    assert ScaledSign().nbits(70, jnp.float64) == 96 + 64
    assert Sign().payload_bits(70, jnp.float64) == 70 + 2
    assert Sign().nbits(70, jnp.float64) == 96 + 8


def test_the_mean_magnitude_does_not_overflow():
    largest = float(jnp.finfo(jnp.float32).max)
    x = jnp.full(9, largest, jnp.float32)
    y = ScaledSign().expand(ScaledSign().compress(x, key=KEY))
    np.testing.assert_allclose(y, largest, rtol=1e-6)


def test_sign_promises_nothing():
    assert not isinstance(Sign(), Unbiased | Contractive)
    x = jnp.asarray([3.0, -0.1, 0.0])
    assert Sign().expand(Sign().compress(x, key=KEY)).tolist() == [1, -1, 1]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_the_smallest_number_has_a_sign(dtype):
    x = jnp.zeros(3, dtype).at[1].set(-jnp.finfo(dtype).smallest_subnormal)
    y = Sign().decode(Sign().encode(x, key=KEY), key=KEY, d=3)
    assert y.dtype == dtype
    assert y.tolist() == [1, -1, 1]


def test_the_majority_wins():
    xs = np.random.default_rng(0).standard_normal((7, 40))
    codes = jax.vmap(lambda x: Sign().compress(x, key=KEY))(jnp.asarray(xs))
    expected = [1.0 if (column > 0).sum() > 3 else -1.0 for column in xs.T]
    vote = Sign().vote(codes)
    assert vote.tolist() == expected
    assert vote.dtype == jnp.float64


def test_ties_abstentions_and_invalid_ballots():
    xs = jnp.asarray([[1.0, 1.0, -1.0], [-1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    codes = jax.vmap(lambda x: Sign().compress(x, key=KEY))(xs)
    assert Sign().vote(codes).tolist() == [0, 1, -1]
    invalid = jax.vmap(lambda x: Sign().compress(x, key=KEY))(xs.at[2, 1].set(jnp.nan))
    assert np.isnan(np.asarray(Sign().vote(invalid))).all()


@pytest.mark.parametrize("compressor", [ScaledSign(), Sign()], ids=str)
def test_the_mean_of_equal_messages_is_one_of_them(compressor):
    x = jax.random.normal(KEY, (9,))
    mean = compressor.compress_mean(x, jnp.asarray(3), key=KEY, most=4)
    np.testing.assert_array_equal(mean, compressor.expand(compressor.compress(x, key=KEY)))
