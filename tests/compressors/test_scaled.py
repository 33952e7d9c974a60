import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import Bernoulli, NaturalCompression, RandK, RandomDithering, Scaled, TopK


KEY = jax.random.key(22)
X = jax.random.normal(jax.random.key(1), (40,), jnp.float32)


def test_the_best_factor_is_one_over_one_plus_omega():
    scaled = Scaled(RandK(4))
    assert scaled.alpha(40).value == pytest.approx(1 / 10)
    assert scaled.alpha(40)[1:] == RandK(4).omega(40)[1:]
    y = RandK(4).expand(RandK(4).compress(X, key=KEY))
    np.testing.assert_allclose(scaled.expand(scaled.compress(X, key=KEY)), y / 10, rtol=1e-6)
    for factor in (0.05, 0.09, 0.11, 0.19):
        assert Scaled(RandK(4), factor).alpha(40).value < 1 / 10


@pytest.mark.parametrize("factor", [0.02, 0.1, 0.15])
def test_alpha_of_any_factor_by_enumeration(factor):
    """RandK with K = 1 keeps each of d coordinates equally often."""
    x, d = np.asarray(X, np.float64)[:10], 10
    error = 0.0
    for j in range(d):
        y = np.zeros(d)
        y[j] = factor * d * x[j]
        error += np.sum((y - x) ** 2) / d
    alpha = Scaled(RandK(1), factor).alpha(d)
    assert error / (x @ x) == pytest.approx(1 - alpha.value)
    assert alpha.kind == "exact"


@pytest.mark.parametrize("factor", [0.0, -1.0, 0.2, 1.0])
def test_a_factor_that_does_not_contract_is_refused(factor):
    with pytest.raises(ValueError, match=rf"{factor} times RandK.* d = 40: .* = 0.2, or none"):
        Scaled(RandK(4), factor).check(40)


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"an omega, and TopK\(K=3\) declares none"):
        Scaled(TopK(3))
    with pytest.raises(TypeError, match="one size, and those of Bernoulli"):
        Scaled(Bernoulli(0.5))
    with pytest.raises(ValueError, match="K = 4 of d = 3"):
        Scaled(RandK(4)).check(3)


def test_messages_are_those_of_the_compressor():
    scaled = Scaled(RandomDithering(4))
    message, plain = scaled.encode(X, key=KEY), RandomDithering(4).encode(X, key=KEY)
    jax.tree.map(np.testing.assert_array_equal, message, plain)
    assert scaled.nbits(40, jnp.float32) == RandomDithering(4).nbits(40, jnp.float32)
    assert scaled.payload_bits(40, jnp.float32) == RandomDithering(4).payload_bits(40, jnp.float32)
    assert scaled.nonfinite == "spreads"
    assert Scaled(NaturalCompression()).nonfinite == "in place"


def test_bfloat16_is_scaled_in_float32():
    x = X.astype(jnp.bfloat16)
    y = np.asarray(NaturalCompression().expand(NaturalCompression().compress(x, key=KEY)))
    expected = (y.astype(np.float32) * np.float32(8 / 9)).astype(jnp.bfloat16)
    scaled = Scaled(NaturalCompression())
    np.testing.assert_array_equal(scaled.expand(scaled.compress(x, key=KEY)), expected)
