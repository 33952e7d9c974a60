import jax.numpy as jnp
import numpy as np
import pytest

from compressors.weights.scales import check_finite, check_scales, safe


def test_zero_is_divided_by_as_one():
    scales = jnp.asarray([0.0, 0.5, 6e-8], jnp.float16)
    np.testing.assert_array_equal(
        safe(scales), np.array([1, 0.5, np.float32(np.float16(6e-8))], np.float32)
    )


def test_eight_bits_of_the_largest_scale_are_enough():
    W = jnp.ones((1, 2), jnp.float32)
    smallest = 2.0**-24
    for scale, fits in ((128 * smallest, True), (127 * smallest, False)):
        scales = jnp.asarray([[scale, 0.0]], jnp.float16)
        if fits:
            check_scales(scales, W)
        else:
            with pytest.raises(ValueError, match=r"up to 1 have scales below 7\.62939e-06"):
                check_scales(scales, W)
    check_scales(jnp.zeros((1, 2), jnp.float16), jnp.zeros((1, 2), jnp.float32))
    check_scales(jnp.zeros((0, 2), jnp.float16), jnp.zeros((0, 2), jnp.float32))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_overflow(dtype):
    check_finite(jnp.full((1, 1), jnp.finfo(dtype).max, dtype))
    with pytest.raises(ValueError, match=r"the largest of .*float.*: give scale_dtype="):
        check_finite(jnp.full((1, 1), jnp.inf, dtype))
