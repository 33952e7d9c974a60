"""W6's rivals: Shadowheart SGD on MNIST by hand, in numpy and in bare JAX.

A round of worker i: the sum of b_i gradients of 4 samples each, then the mean of m_i messages of
RandK with K = 1, of which only matters how often each coordinate was drawn; one with m_i dense
enough sends the sum itself. Both rivals are given b_i, m_i and the weights.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from compressors import RandK
from dopt.data import load_mnist
from dopt.methods import ShadowheartSGD
from dopt.problems import MultinomialLogistic
from experiments.benchmarks.workloads import Run
from simulators.presets import by_name


STEP, NOISE_RATIO, PER_GRADIENT, IMAGES = 0.5, 100.0, 4, 5000


class Study(NamedTuple):
    """The problem of the study's middle regime, and what its active workers do in a round."""

    problem: MultinomialLogistic
    method: ShadowheartSGD
    costs: Any
    gradients: npt.NDArray[np.int64]
    messages: npt.NDArray[np.int64]
    dense: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]


def study(n: int) -> Study:
    """The study for `n` workers with medium links."""
    problem = MultinomialLogistic.from_digits(load_mnist(samples=IMAGES), batch=PER_GRADIENT)
    method = ShadowheartSGD(STEP, RandK(1), NOISE_RATIO)
    bits = method.message_bits(problem.d, problem.dtype, n)
    costs = by_name("medium", n, problem.d).costs(
        d=problem.d, dtype=problem.dtype, message_bits=bits
    )
    plan = method.plan(costs, problem.d)
    active = np.flatnonzero(plan.messages)
    weight = plan.weights * plan.messages / plan.N
    columns = (plan.gradients, plan.messages, plan.dense, weight)
    return Study(problem, method, costs, *(column[active] for column in columns))


def numpy_loop(n: int) -> Run:
    """One worker after another."""
    s = study(n)
    features, labels = np.asarray(s.problem.features), np.asarray(s.problem.labels)
    right = np.eye(10, dtype=np.float32)[labels]
    d = s.problem.d

    def softmax(z: npt.NDArray) -> npt.NDArray:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def run(rounds: int) -> float:
        rng = np.random.default_rng(0)
        x = np.zeros((d // 10, 10), np.float32)
        for _ in range(rounds):
            total = np.zeros_like(x)
            for b, m, dense, w in zip(s.gradients, s.messages, s.dense, s.weight, strict=True):
                drawn = rng.integers(0, len(labels), b * PER_GRADIENT)
                a = features[drawn]
                g = a.T @ ((softmax(a @ x) - right[drawn]) / np.float32(PER_GRADIENT))
                if not dense:
                    counts = np.bincount(rng.integers(0, d, m), minlength=d)
                    g *= (counts * np.float32(d / m)).reshape(g.shape)
                total += np.float32(w) * g
            x = x - np.float32(STEP) * total
        p = softmax(features @ x)
        return float(-np.mean(np.log(p[np.arange(len(labels)), labels])))

    return run


def jax_scan(n: int) -> Run:
    """Workers of like b side by side; all draws of coordinates in one go."""
    s = study(n)
    d, workers = s.problem.d, len(s.gradients)
    padded = 2 ** np.ceil(np.log2(s.gradients)).astype(np.int64)
    groups = [(np.flatnonzero(padded == size), int(size)) for size in np.unique(padded)]
    compressed = np.flatnonzero(~s.dense)
    owner = np.repeat(compressed, s.messages[compressed])
    scale = np.where(s.dense, s.weight, s.weight * d / s.messages)

    @jax.jit
    def descend(
        features: Any, labels: Any, counts: Any, owner: Any, scale: Any, dense: Any, rounds: Any
    ) -> Any:
        def body(k: Any, x: Any) -> Any:
            key = jax.random.fold_in(jax.random.key(0), k)
            drawn = jax.random.randint(jax.random.fold_in(key, 0), owner.shape, 0, d)
            hits = jnp.zeros(workers * d, jnp.float32).at[owner * d + drawn].add(1.0)
            hits = jnp.where(dense[:, None], 1.0, hits.reshape(workers, d))
            factor = hits * scale[:, None]
            total = jnp.zeros(d, jnp.float32)
            for g, (members, size) in enumerate(groups):
                shape = (len(members), size * PER_GRADIENT)
                sample = jax.random.randint(jax.random.fold_in(key, g + 1), shape, 0, len(labels))
                a = features[sample]
                wrong = jax.nn.softmax(a @ x.reshape(-1, 10)) - jax.nn.one_hot(labels[sample], 10)
                there = jnp.arange(shape[1]) < counts[members, None] * PER_GRADIENT
                wrong = jnp.where(there[:, :, None], wrong / PER_GRADIENT, 0)
                each = jnp.einsum("gsf,gsc->gfc", a, wrong).reshape(len(members), d)
                total = total + jnp.sum(factor[members] * each, axis=0)
            return x - STEP * total

        return jax.lax.fori_loop(0, rounds, body, jnp.zeros(d, jnp.float32))

    given = (
        s.problem.features,
        s.problem.labels,
        jnp.asarray(s.gradients, jnp.int32),
        jnp.asarray(owner, jnp.int32),
        jnp.asarray(scale, jnp.float32),
        jnp.asarray(s.dense),
    )
    return lambda rounds: float(s.problem.value(descend(*given, rounds)))
