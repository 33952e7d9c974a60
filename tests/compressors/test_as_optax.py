import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from compressors import (
    Collective,
    ContractivePerLeaf,
    Identity,
    PowerSGD,
    RandK,
    RankR,
    ScaledSign,
    TopK,
    as_optax,
)


RNG = np.random.default_rng(5)
A = jnp.asarray(RNG.standard_normal((30, 12)))
BEST = jnp.asarray(RNG.standard_normal(12))


def loss(params):
    return jnp.mean((A @ jnp.concatenate([params["w"].reshape(-1), params["b"]]) - A @ BEST) ** 2)


PARAMS = {"b": jnp.zeros(4), "w": jnp.zeros((2, 4))}


def train(transformation, steps=400, rate=0.05, params=PARAMS):
    """Losses of SGD behind the transformation."""
    optimizer = optax.chain(transformation, optax.sgd(rate))

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    start = (params, optimizer.init(params))
    return np.asarray(jax.jit(lambda c: jax.lax.scan(step, c, length=steps))(start)[1])


def test_identity_is_plain_sgd():
    plain = train(optax.identity(), 50)
    for error_feedback in (False, True):
        same = train(as_optax(Identity(), error_feedback=error_feedback), 50)
        np.testing.assert_array_equal(same, plain)


def test_updates_and_errors_are_those_of_a_loop():
    transformation = as_optax(TopK(3), error_feedback=True)
    state = transformation.init(PARAMS)
    error = np.zeros(12)
    for number in range(5):
        g = RNG.standard_normal(12)
        tree = {"b": jnp.asarray(g[:4]), "w": jnp.asarray(g[4:]).reshape(2, 4)}
        updates, state = transformation.update(tree, state)
        p = g + error
        kept = np.argsort(-np.abs(p))[:3]
        c = np.zeros(12)
        c[kept] = p[kept]
        error = p - c
        assert int(state.step) == number + 1
        np.testing.assert_allclose(updates["b"], c[:4])
        np.testing.assert_allclose(updates["w"].reshape(-1), c[4:])
        np.testing.assert_allclose(state.error, error)


def workers(error_feedback, steps=300):
    """Mean of the workers' Top1 updates on their own quadratics; the final norm of the model."""
    rows = jnp.asarray([[-3.0, 2.0, 2.0], [2.0, -3.0, 2.0], [2.0, 2.0, -3.0]])
    transformation = as_optax(TopK(1), error_feedback=error_feedback)

    def step(carry, _):
        x, states = carry
        gradients = 2 * rows * (rows @ x)[:, None] + x[None] / 2
        updates, states = jax.vmap(transformation.update)(gradients, states)
        return (x - 0.02 * updates.mean(axis=0), states), None

    x = jnp.ones(3)
    states = jax.vmap(lambda _: transformation.init(x))(jnp.arange(3))
    (x, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))((x, states))
    return float(jnp.linalg.norm(x))


def test_error_feedback_converges_where_topk_alone_does_not():
    """Beznosikov, Horváth, Richtárik, Safaryan 2020, Example 1: Top1 of three workers diverges."""
    assert workers(error_feedback=True) < 1e-2
    assert workers(error_feedback=False) > 1e3


def test_error_feedback_on_least_squares():
    assert train(as_optax(TopK(1), error_feedback=True), 1000)[-1] < 1e-8
    assert train(as_optax(ScaledSign(), error_feedback=True), 1000)[-1] < 1e-8


def test_updates_draw_with_keys_of_their_own():
    transformation = as_optax(RandK(2), seed=3)
    state, ones = transformation.init(PARAMS), jax.tree.map(jnp.ones_like, PARAMS)
    drawn = []
    for _ in range(6):
        updates, state = transformation.update(ones, state)
        drawn.append(tuple(np.flatnonzero(jax.flatten_util.ravel_pytree(updates)[0])))
    assert len(set(drawn)) > 1
    expected = RandK(2).compress(jnp.ones(12), key=jax.random.fold_in(jax.random.key(3), 0))
    assert drawn[0] == tuple(np.sort(expected.indices))
    again, _ = transformation.update(ones, transformation.init(PARAMS))
    assert tuple(np.flatnonzero(jax.flatten_util.ravel_pytree(again)[0])) == drawn[0]
    other, _ = as_optax(RandK(2), seed=4).update(ones, transformation.init(PARAMS))
    assert tuple(np.flatnonzero(jax.flatten_util.ravel_pytree(other)[0])) != drawn[0]


def test_a_compressor_a_leaf():
    def make(leaf):
        return RankR(1, leaf.shape) if leaf.ndim == 2 else ScaledSign()

    both = ContractivePerLeaf.like(PARAMS, make)
    assert train(as_optax(both, error_feedback=True), 1000)[-1] < 1e-8


def test_powersgd_as_its_only_worker():
    op = PowerSGD(1, (3, 4))
    assert isinstance(op, Collective)
    assert train(as_optax(op, error_feedback=True), 1000)[-1] < 1e-8
    transformation = as_optax(op)
    state = transformation.init(PARAMS)
    updates, after = transformation.update(jax.tree.map(jnp.ones_like, PARAMS), state)
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(updates)[0], 1, rtol=1e-12)
    assert not np.array_equal(after.exchange, state.exchange)


def test_errors_of_bfloat16_are_kept_in_float32():
    params = {"w": jnp.zeros(4, jnp.bfloat16)}
    transformation = as_optax(ScaledSign(), error_feedback=True)
    state = transformation.init(params)
    assert state.error.dtype == jnp.float32
    updates, state = transformation.update(
        params | {"w": jnp.arange(4.0).astype("bfloat16")}, state
    )
    assert updates["w"].dtype == jnp.bfloat16
    assert state.error.dtype == jnp.float32


def test_parameters_that_do_not_fit_are_refused_before_training():
    with pytest.raises(ValueError, match="K = 13 of d = 12"):
        as_optax(TopK(13)).init(PARAMS)
    with pytest.raises(ValueError, match="3 x 3 matrix cannot take d = 12"):
        as_optax(PowerSGD(1, (3, 3))).init(PARAMS)
