import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import Averaged, Bernoulli, NaturalCompression, RandK, TopK, message_key


KEY = jax.random.key(23)
X = jax.random.normal(jax.random.key(1), (12,), jnp.float32)


@pytest.mark.parametrize("indices", ["seed", "sent"])
def test_it_is_the_mean_of_its_messages(indices):
    one, m = RandK(3, indices=indices), 4
    several = Averaged(one, m)
    draws = [one.expand(one.compress(X, key=message_key(KEY, j))) for j in range(m)]
    expected = np.mean(draws, axis=0)
    np.testing.assert_allclose(several.decode(several.encode(X, key=KEY), key=KEY, d=12), expected)
    mean = one.compress_mean(X, jnp.asarray(m), key=KEY, most=m)
    np.testing.assert_allclose(mean, expected, rtol=1e-6)


def test_bits_are_those_of_m_messages():
    one = RandK(3, indices="sent")
    assert Averaged(one, 7).nbits(12, jnp.float32) == 7 * one.nbits(12, jnp.float32)
    assert Averaged(one, 7).payload_bits(12, jnp.float32) == 7 * one.payload_bits(12, jnp.float32)


def test_omega_over_m_by_enumeration():
    x = np.asarray(X, np.float64)[:4]
    vectors = [4 * x * np.eye(4)[j] for j in range(4)]
    errors = [np.sum(((a + b) / 2 - x) ** 2) for a, b in itertools.product(vectors, repeat=2)]
    omega = Averaged(RandK(1), 2).omega(4)
    assert np.mean(errors) / (x @ x) == pytest.approx(omega.value)
    assert omega == (1.5, "exact", "every vector")
    assert Averaged(NaturalCompression(), 5).omega(4).value == 1 / 40


def test_one_draw_is_the_compressor_with_the_key_of_its_first_message():
    one, y = RandK(3), Averaged(RandK(3), 1)
    expected = one.expand(one.compress(X, key=message_key(KEY, 0)))
    np.testing.assert_array_equal(y.expand(y.compress(X, key=KEY)), expected)


def test_sums_of_bfloat16_are_float32():
    x = jnp.full(4, 1.0, jnp.bfloat16)
    m = 1000
    y = Averaged(NaturalCompression(), m)
    np.testing.assert_array_equal(np.asarray(y.expand(y.compress(x, key=KEY)), np.float32), 1)


@pytest.mark.parametrize("m", [0, -2])
def test_no_messages_are_refused(m):
    with pytest.raises(ValueError, match=rf"m = {m} messages is none: give m >= 1"):
        Averaged(RandK(1), m)


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"an omega, and TopK\(K=3\) declares none"):
        Averaged(TopK(3), 2)
    with pytest.raises(TypeError, match="one size, and those of Bernoulli"):
        Averaged(Bernoulli(0.5), 2)
    with pytest.raises(ValueError, match="K = 4 of d = 3"):
        Averaged(RandK(4), 2).check(3)
    assert Averaged(RandK(4), 2).nonfinite == "in place"
