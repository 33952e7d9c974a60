import jax
import jax.numpy as jnp
import numpy as np

from compressors import RandK, TopK, message_key
from theory_checks.battery.moments import block, measure


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
    np.testing.assert_allclose(got.reach[:9], np.abs(errors).max(axis=0), atol=1e-13)
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
    assert got.draws == 64 * 1024
    near = measure(RandK(8), "gaussian", X, KEY, 4096, resolve=True)
    assert 4096 < near.draws < 64 * 4096
    assert 6 * near.sd[9:12].max() / near.draws**0.5 <= 0.005
    assert 6 * near.sd[12] / near.draws**0.5 <= 0.02 * near.mean[12]


def test_fewer_draws_at_once_where_the_vector_is_long():
    assert block(10) == 1024
    assert block(10**4) == 104
    assert block(10**7) == 16
