"""MARINA against its algorithm in plain numpy, and the identity of its estimator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import STEPS, D, N, costs_for, least_squares, schedule_for

from compressors import RandK, message_key
from dopt.errors import ConfigurationError
from dopt.methods import MARINA, Job, job_key, streams
from dopt.replay import replay
from simulators import timeline


K, P = 4, 0.3


@jax.jit
def kept(worker, job):
    """The coordinates that the worker's message of this job holds, for data seed 0."""
    _, stream = streams(job_key(jax.random.key(0), worker, job))
    return RandK(K).compress(jnp.zeros(D), key=message_key(stream, 0)).indices


@pytest.mark.parametrize("timeline_seed", [0, 1])
def test_it_is_its_algorithm(timeline_seed):
    problem, gamma, method = least_squares(), 0.1, MARINA(0.1, RandK(K), p=P)
    a, y = (np.asarray(part) for part in problem.data)
    a, y = a.reshape(N, -1, D), y.reshape(N, -1)
    costs = costs_for(method, problem)
    schedule = timeline(method.policy(costs, D), costs, steps=STEPS, seed=timeline_seed)
    coins = np.random.default_rng(timeline_seed).random(STEPS) < P
    coins[0] = True
    assert 3 < coins.sum() < 20

    def gradients(x):
        return np.einsum("nrd,nr->nd", a, np.einsum("nrd,d->nr", a, x) - y) / y.shape[1]

    x, bits, seconds = np.zeros(D), 0, 0.0
    before, g, models = x, None, [x]
    for k in range(STEPS):
        if coins[k]:
            g = gradients(x).mean(axis=0)
        else:
            difference = gradients(x) - gradients(before)
            message = np.zeros((N, D))
            for i in range(N):
                indices = np.asarray(kept(jnp.int32(i), jnp.int32(k)))
                message[i, indices] = difference[i, indices] * D / K
            g = g + message.mean(axis=0)
        before, x = x, x - gamma * g
        models.append(x)
        bits += N * 64 * (D if coins[k] else K)
        seconds += max(costs.h + costs.tau_dense) if coins[k] else max(2 * costs.h + costs.tau)
        assert schedule.steps.bits_up[k + 1] == bits
        assert schedule.time[k + 1] == pytest.approx(seconds)
    computed = N * (2 * STEPS - coins.sum())
    assert schedule.steps.gradients[-1] == computed
    trace = replay(problem, method, schedule, records=np.arange(STEPS + 1))
    values = [np.mean((np.einsum("nrd,d->nr", a, x) - y) ** 2) / 2 for x in models]
    np.testing.assert_allclose(trace.value[0, 0], values, rtol=1e-12)
    np.testing.assert_allclose(trace.x[0, 0], models[-1], rtol=0, atol=1e-12)


def test_the_error_of_the_estimator_shrinks_by_1_minus_p_in_expectation():
    """E[g⁺ − ∇f(x⁺) | g, x, x⁺] = (1 − p)(g − ∇f(x)), over coins and messages."""
    problem, method = least_squares(), MARINA(0.1, RandK(K), p=P)
    rng = np.random.default_rng(0)
    x, moved, g = (jnp.asarray(rng.standard_normal(D)) for _ in range(3))
    policy = method.policy(costs_for(method, problem), D)
    draws = 4000
    coins = np.array([policy.choices(2, seed)[1] == 1 for seed in range(draws)])
    assert abs(coins.mean() - P) < 5 * np.sqrt(P * (1 - P) / draws)

    def estimator(key, dense):
        jobs = Job(
            jnp.arange(N), jnp.full(N, 7), jnp.ones(N, int), jnp.ones(N, int), jnp.full(N, 1 / N),
            n=N, dense=dense, phase=int(dense), most_gradients=1, most_messages=1,
        )  # fmt: skip
        keys = jax.vmap(lambda i: job_key(key, i, jnp.int32(7)))(jnp.arange(N))
        _, total = method.gather(problem, (), (moved, x), jobs, keys=keys, coin=key)
        return method.estimate(g, total, jnp.int32(dense))[0]

    @jax.jit
    def estimators(keys, coins):
        compressed = jax.vmap(lambda key: estimator(key, False))(keys)
        return jnp.where(coins[:, None], estimator(keys[0], True), compressed)

    keys = jax.random.split(jax.random.key(1), draws)
    error = np.asarray(estimators(keys, coins)) - np.asarray(problem.grad(moved))
    expected = (1 - P) * np.asarray(g - problem.grad(x))
    assert np.abs(expected).max() > 1
    standard_error = error.std(axis=0) / np.sqrt(draws)
    z = (error.mean(axis=0) - expected) / standard_error
    assert np.abs(z).max() < 5
    assert np.abs(error.mean(axis=0) - (1 - 2 * P) * expected).max() > 5 * standard_error.max()


def test_it_reaches_the_minimum_of_workers_that_disagree():
    problem = least_squares()
    a, y = (np.asarray(part) for part in problem.data)
    method = MARINA(0.1, RandK(K), p=P)
    trace = replay(problem, method, schedule_for(method, problem, steps=3000))
    np.testing.assert_allclose(trace.x[0, 0], np.linalg.lstsq(a, y)[0], atol=1e-9)


@pytest.mark.parametrize("p", [0.0, -0.1, 1.1, float("nan")])
def test_a_bad_probability_is_refused(p):
    with pytest.raises(ConfigurationError, match="must lie in"):
        MARINA(0.1, RandK(1), p=p)
