import math

import jax.numpy as jnp
import numpy as np
import pytest

from theory_checks.battery.vectors import length, vectors


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 300])
def test_vectors_have_the_dtype_and_only_one_is_zero(dtype, d):
    for name, x in vectors(d, dtype, 0).items():
        assert x.dtype == dtype
        assert x.shape == (d,)
        assert np.isfinite(x.astype(np.float64)).all()
        assert x.any() == (name != "zero")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float32])
@pytest.mark.parametrize("d", [1, 300])
def test_squared_norms_overflow_and_underflow(dtype, d):
    tests = vectors(d, dtype, 0)
    squares = {name: float(np.sum(tests[name].astype(np.float64) ** 2)) for name in tests}
    assert squares["huge"] > float(jnp.finfo(dtype).max)
    assert squares["tiny"] < float(jnp.finfo(dtype).smallest_subnormal)
    assert np.abs(tests["subnormal"].astype(np.float64)).max() < float(jnp.finfo(dtype).tiny)


def test_the_length_of_a_vector_whose_square_is_no_number():
    for scale in (1e300, 1e-300, 1.0):
        assert length(np.array([3 * scale, -4 * scale])) == pytest.approx(5 * scale, rel=1e-15)
    assert length(np.zeros(3)) == 0
    assert math.isclose(length(np.full(2, 5e-324)), 5e-324, rel_tol=0.5)
