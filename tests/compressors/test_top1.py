from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from compressors import Top1Sampling
from compressors.top1 import BRANCHES


TOP1 = Top1Sampling()


@partial(jax.jit, static_argnums=1)
def drawn(x, draws):
    keys = jax.random.split(jax.random.key(2), draws)
    return jax.vmap(lambda key: TOP1.compress(x, key=key))(keys)


@pytest.mark.parametrize("d", [1, 5, BRANCHES, BRANCHES + 1, 2 * BRANCHES**2 + 1])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_coordinates_are_drawn_by_their_share(d, dtype):
    x = np.random.default_rng(d).standard_normal(d).astype(dtype)
    x[1::3] = 0
    code = drawn(x, 40_000)
    counts = np.bincount(np.asarray(code.indices)[:, 0], minlength=d)
    share = np.abs(x, dtype=np.float64) / np.abs(x, dtype=np.float64).sum()
    assert counts[share == 0].sum() == 0
    if d > 1:
        expected = 40_000 * share[share > 0]
        common = expected >= 5
        observed = np.append(counts[share > 0][common], counts[share > 0][~common].sum())
        expected = np.append(expected[common], expected[~common].sum())
        assert chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-4


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1.0, 1e300])
def test_the_value_is_the_signed_norm(scale):
    x = np.random.default_rng(0).standard_normal(40) * scale
    code = drawn(x, 50)
    signs = np.sign(x)[np.asarray(code.indices)]
    np.testing.assert_allclose(code.values, signs * np.abs(x).sum(), rtol=1e-13)


def test_the_mean_and_the_error_by_enumeration():
    """Over all coordinates with their shares: E C(x) = x and E‖C(x) − x‖² = ‖x‖₁² − ‖x‖²."""
    for x in (np.asarray([3.0, -1.0, 0.5]), np.full(6, -4 / 3)):
        d, norm = x.size, np.abs(x).sum()
        results = np.sign(x)[:, None] * norm * np.eye(d)
        share = np.abs(x) / norm
        np.testing.assert_allclose(share @ results, x, rtol=1e-14)
        error = share @ ((results - x) ** 2).sum(axis=1)
        np.testing.assert_allclose(error, norm**2 - x @ x, rtol=1e-13)
        assert error <= TOP1.omega(d).value * (x @ x) * (1 + 1e-12)
    np.testing.assert_allclose(error, TOP1.omega(6).value * (x @ x), rtol=1e-12)


def test_zero_stays_zero_and_what_is_no_number_shows():
    assert not np.asarray(drawn(np.zeros(70), 9).values).any()
    for bad in (np.nan, np.inf):
        x = np.ones(70)
        x[13] = bad
        assert np.isnan(drawn(x, 9).values).all()


def test_the_message():
    x = jnp.asarray(np.random.default_rng(0).standard_normal(100), jnp.float32)
    code = TOP1.compress(x, key=jax.random.key(0))
    message = TOP1.pack(code)
    assert int(message["indices"][0]) == int(code.indices[0])
    assert message["indices"].shape == message["values"].shape == (1,)
    assert TOP1.nbits(100, jnp.float32) == 64
    assert TOP1.payload_bits(100, jnp.float32) == 32 + 7
    assert TOP1.nbits(100, jnp.bfloat16) == 48
