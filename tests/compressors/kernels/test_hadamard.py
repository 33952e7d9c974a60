import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from compressors.kernels.hadamard import hadamard, padded_size, rotate, rotate_back


KEY = jax.random.key(5)


@pytest.mark.parametrize("bits", range(12))
def test_it_is_sylvesters_matrix(bits):
    p = 2**bits
    x = np.random.default_rng(bits).normal(size=p)
    expected = scipy.linalg.hadamard(p) @ x / np.sqrt(p)
    np.testing.assert_allclose(hadamard(jnp.asarray(x)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "atol"),
    [(jnp.float64, 1e-14), (jnp.float32, 1e-6), (jnp.bfloat16, 2e-2), (jnp.float16, 2e-3)],
)
def test_twice_is_once_up_to_rounding(dtype, atol):
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, 2**13), dtype)
    once = hadamard(x)
    assert once.dtype == dtype
    twice = np.asarray(hadamard(once), np.float64)
    np.testing.assert_allclose(twice, np.asarray(x, np.float64), rtol=0, atol=atol)


def test_narrow_types_are_rounded_once():
    x = jnp.asarray(np.random.default_rng(1).normal(size=256), jnp.bfloat16)
    exact = hadamard(x.astype(jnp.float32)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(hadamard(x), exact)


def test_it_maps_over_a_batch():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(3, 128)))
    np.testing.assert_allclose(jax.vmap(hadamard)(x)[1], hadamard(x[1]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("p", [3, 12, 1000])
def test_other_sizes_are_refused(p):
    with pytest.raises(ValueError, match=rf"not {p}: pad with zeros to {padded_size(p)}"):
        hadamard(jnp.ones(p))


def test_padded_sizes():
    sizes = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 64: 64, 65: 128, 7850: 8192, 10**6: 2**20}
    assert {d: padded_size(d) for d in sizes} == sizes


@pytest.mark.parametrize("d", [1, 2, 7, 32, 33, 300])
def test_a_rotation_keeps_norms_and_is_undone(d):
    x = jnp.asarray(np.random.default_rng(d).normal(size=d))
    z = rotate(x, key=KEY)
    assert z.shape == (padded_size(d),)
    np.testing.assert_allclose(jnp.linalg.norm(z), jnp.linalg.norm(x), rtol=1e-14)
    np.testing.assert_allclose(rotate_back(z, key=KEY, d=d), x, rtol=0, atol=1e-14)


def test_the_way_back_is_the_transpose():
    d, p = 11, 16
    forward = jax.jacobian(lambda x: rotate(x, key=KEY))(jnp.zeros(d))
    back = jax.jacobian(lambda z: rotate_back(z, key=KEY, d=d))(jnp.zeros(p))
    np.testing.assert_allclose(back, forward.T, rtol=0, atol=1e-15)


def test_signs_are_fair_coins_without_correlation():
    p, draws = 40, 4000
    back = jax.jit(jax.vmap(lambda key: rotate_back(hadamard(jnp.ones(64)), key=key, d=p)))
    signs = np.asarray(back(jax.random.split(KEY, draws)))
    np.testing.assert_allclose(np.abs(signs), 1, rtol=0, atol=1e-14)
    products = signs.T @ signs / draws - np.eye(p)
    assert np.abs(signs.mean(axis=0)).max() < 5 / np.sqrt(draws)
    assert np.abs(products).max() < 5 / np.sqrt(draws)
