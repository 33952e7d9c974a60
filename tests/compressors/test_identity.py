import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import Constant, Identity


@pytest.mark.parametrize(
    ("dtype", "bits"), [(jnp.bfloat16, 16), (jnp.float32, 32), (jnp.float64, 64)]
)
def test_the_vector_travels_as_it_is(dtype, bits):
    x = jnp.arange(5).astype(dtype)
    key = jax.random.key(0)
    message = Identity().encode(x, key=key)
    assert set(message) == {"values"}
    back = Identity().decode(message, key=key, d=5)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, x)
    assert Identity().nbits(5, dtype) == Identity().payload_bits(5, dtype) == 5 * bits


def test_it_is_unbiased_and_contractive_without_error():
    assert Identity().omega(9)[:2] == (0.0, "exact")
    assert Identity().alpha(9)[:2] == (1.0, "exact")
    assert isinstance(Identity().omega(9), Constant)


def test_mean_and_weighted_sum():
    x = jnp.asarray([1.0, -2.0])
    mean = Identity().compress_mean(x, jnp.asarray(7), key=jax.random.key(0), most=9)
    np.testing.assert_array_equal(mean, x)
    total = Identity().expand_sum(jnp.stack([x, 2 * x]), jnp.asarray([3.0, -1.0]))
    np.testing.assert_array_equal(total, x)
