import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import CORE, core


KEY = jax.random.key(2)


def gaussians(K, d):
    """The rows u_k of a key, one coordinate at a time."""
    rows = jax.vmap(lambda e: CORE(K).compress(e, key=KEY).projections)(jnp.eye(d))
    return np.asarray(rows).T


def test_it_is_the_mean_of_projections_onto_gaussians():
    K, d = 6, 9
    u = gaussians(K, d)
    x = np.random.default_rng(0).normal(size=d)
    code = CORE(K).compress(jnp.asarray(x), key=KEY)
    np.testing.assert_allclose(code.projections, u @ x, rtol=1e-12)
    np.testing.assert_allclose(CORE(K).expand(code), u.T @ (u @ x) / K, rtol=1e-12)


def test_the_gaussians_are_standard_and_independent():
    u = gaussians(200, 40)
    size = np.sqrt(u.size)
    assert abs(u.mean()) < 5 / size
    assert abs(u.var() - 1) < 5 * np.sqrt(2) / size
    assert abs((u**4).mean() - 3) < 5 * np.sqrt(96) / size
    gram = u @ u.T / 40 - np.eye(200)
    assert np.abs(gram[np.triu_indices(200, 1)]).max() < 6 / np.sqrt(40)


@pytest.mark.parametrize("rows", [1, 3, 4, 7])
def test_blocks_do_not_change_the_draw(rows, monkeypatch):
    x = jax.random.normal(jax.random.key(1), (11,))
    whole = CORE(7).compress(x, key=KEY)
    vector = CORE(7).expand(whole)
    monkeypatch.setattr(core, "AT_ONCE", 11 * rows)
    code = CORE(7).compress(x, key=KEY)
    np.testing.assert_allclose(code.projections, whole.projections, rtol=1e-13)
    np.testing.assert_allclose(CORE(7).expand(code), vector, rtol=1e-12, atol=1e-13)


def test_large_sketches_are_never_held_whole():
    d, K = core.AT_ONCE // 2, 64
    shape = jax.ShapeDtypeStruct((d,), jnp.float32)
    program = str(jax.make_jaxpr(lambda x: CORE(K).compress(x, key=KEY).projections)(shape))
    assert f"f32[2,{d}]" in program
    assert f"[{K},{d}]" not in program


def test_bits_constants_and_refusals():
    assert CORE(5).nbits(1000, jnp.float32) == CORE(5).payload_bits(1000, jnp.float32) == 160
    assert CORE(5).nbits(1000, jnp.bfloat16) == 80
    assert CORE(5).omega(99) == (20.0, "exact", "every vector")
    with pytest.raises(ValueError, match="K = 0 projections sends nothing: give K >= 1"):
        CORE(0)


def test_keys_of_any_kind():
    x = jnp.arange(5.0)
    key = jax.random.key(0, impl="rbg")
    message = CORE(3).encode(x, key=key)
    expected = CORE(3).expand(CORE(3).compress(x, key=key))
    np.testing.assert_array_equal(CORE(3).decode(message, key=key, d=5), expected)
