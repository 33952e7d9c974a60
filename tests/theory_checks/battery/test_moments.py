import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import RandK, TopK, message_key
from theory_checks.battery.moments import (
    LONGER,
    Moments,
    block,
    errors,
    measure,
    summed,
    uncertainty,
)


KEY = jax.random.key(5)
X = np.random.default_rng(1).standard_normal(9)


def test_the_moments_are_those_of_a_loop():
    draws = block(9)
    x = jnp.asarray(X)
    compress = jax.jit(lambda j: RandK(3).expand(RandK(3).compress(x, key=message_key(KEY, j))))
    errors = np.stack([np.asarray(compress(j)) - X for j in range(draws)]) / np.linalg.norm(X)
    got = measure(RandK(3), "gaussian", X, KEY, 1)
    assert got.draws == draws
    np.testing.assert_allclose(got.mean[:9], errors.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(got.sd[:9], errors.std(axis=0), atol=1e-9)
    assert got.random
    np.testing.assert_allclose(got.longest, np.linalg.norm(errors, axis=1).max(), rtol=1e-13)
    unit = X / np.linalg.norm(X)
    np.testing.assert_allclose(got.mean[9], (errors @ unit).mean(), atol=1e-13)
    np.testing.assert_allclose(got.mean[10], (errors @ np.sign(X)).mean() / 3, atol=1e-13)
    np.testing.assert_allclose(got.mean[11], errors.sum(axis=1).mean() / 3, atol=1e-13)
    np.testing.assert_allclose(got.mean[12], (errors**2).sum(axis=1).mean(), rtol=1e-13)


def test_what_is_not_random_is_drawn_once():
    got = measure(TopK(2), "gaussian", X, KEY, 10**6)
    assert got.draws == block(9)
    assert (got.sd == 0).all()
    assert measure(TopK(2), "gaussian", X, KEY, 10**6, least=3000).draws == 3 * block(9)


def test_a_vector_is_resolved_with_more_draws():
    assert measure(RandK(3), "gaussian", X, KEY, 1024).draws == 1024
    got = measure(RandK(3), "gaussian", X, KEY, 1024, resolve=True)
    assert got.draws == LONGER * 1024
    near = measure(RandK(8), "gaussian", X, KEY, 4096, resolve=True)
    assert 4096 < near.draws < LONGER * 4096
    assert uncertainty(near, 6.0, near.longest)[9:12].max() <= 0.0065
    assert 6 * near.sd[12] / near.draws**0.5 <= 0.02 * near.mean[12]


@pytest.mark.parametrize("scale", [1e300, 1e-290])
def test_errors_are_in_units_of_the_length(scale):
    y = np.roll(X, 1)
    np.testing.assert_allclose(
        jax.jit(errors)(scale * X, scale * y), jax.jit(errors)(X, y), rtol=1e-12, atol=1e-15
    )


def test_a_result_that_is_no_number_is_not_lost_among_many():
    rows = np.zeros((1024, 40))
    rows[500, 3] = np.nan
    for part in jax.jit(summed)(rows):
        assert np.flatnonzero(np.isnan(part)).tolist() == [3]


def test_means_are_uncertain_by_what_is_unseen():
    """Of N draws of a coin of probability 3/N none comes up in one run of twenty."""
    draws, z = 1000, 3.0
    run = Moments("", draws, np.array([-3 / draws]), np.zeros(1), True, 1.0)
    assert abs(run.mean[0]) < uncertainty(run, z, 1.0)[0] == pytest.approx(7 / 6 * 9 / 1000)
    seen = run._replace(sd=np.array([2.0]))
    assert uncertainty(seen, z, 0.0)[0] == pytest.approx(3 * 2 / 1000**0.5)


def test_fewer_draws_at_once_where_the_vector_is_long():
    assert block(10) == 1024
    assert block(10**4) == 104
    assert block(10**7) == 16
