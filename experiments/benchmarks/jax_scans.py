"""The second rival: bare JAX, one compiled loop for one method, written for it alone.

Each takes its number of turns as an argument, so that a second call compiles nothing; data are
arguments too. Step sizes and seeds are vmapped over, with noise that does not depend on the former.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.workloads import (
    ASYNCHRONOUS_STEP,
    BATCH,
    KEPT,
    L2,
    PLAIN_STEP,
    RANDK_STEP,
    RENNALA_STEP,
    SIGMA,
    WORKERS,
    D,
    Run,
    logistic,
    seconds_of,
    step_sizes,
)


CHUNK = 1000
"""Samples of a chunk where the data are larger than a cache: they are read from memory once."""


def _slopes(rows: Any, labels: Any, x: Any) -> Any:
    return -labels * jax.nn.sigmoid(-labels * (rows @ x))


def _whole(rows: Any, labels: Any, x: Any) -> Any:
    return (_slopes(rows, labels, x) / len(labels)) @ rows + L2 * x


def _chunks(rows: Any, labels: Any, x: Any) -> Any:
    def add(total: Any, chunk: Any) -> tuple[Any, None]:
        a, b = chunk
        return total + _slopes(a, b, x) @ a, None

    chunks = rows.reshape(-1, CHUNK, D), labels.reshape(-1, CHUNK)
    return jax.lax.scan(add, jnp.zeros_like(x), chunks)[0] / len(labels) + L2 * x


def _local(n: int, rows: Any, labels: Any, x: Any) -> Any:
    slopes = _slopes(rows, labels, x).reshape(n, -1)
    each = jnp.einsum("nm,nmd->nd", slopes / slopes.shape[1], rows.reshape(n, -1, D))
    return each + L2 * x


def _randk(n: int, key: Any, k: Any, local: Any) -> Any:
    """The mean of RandK of every row; Floyd's sampling, all workers side by side."""
    last = jnp.arange(D - KEPT, D, dtype=jnp.int32)
    draws = jax.random.randint(jax.random.fold_in(key, k), (n, KEPT), 0, last + 1, jnp.int32)
    chosen = jnp.full((n, KEPT), -1, jnp.int32)
    for i in range(KEPT):
        taken = jnp.any(chosen == draws[:, i, None], axis=1)
        chosen = chosen.at[:, i].set(jnp.where(taken, last[i], draws[:, i]))
    values = jnp.take_along_axis(local, chosen, axis=1) * (D / KEPT / n)
    return jnp.zeros(D, local.dtype).at[chosen].add(values)


def _topk(n: int, key: Any, k: Any, local: Any) -> Any:
    chosen = jax.lax.top_k(jnp.abs(local), KEPT)[1]
    values = jnp.take_along_axis(local, chosen, axis=1) / n
    return jnp.zeros(D, local.dtype).at[chosen].add(values)


@partial(jax.jit, static_argnames="mean")
def _descend(mean: Any, rows: Any, labels: Any, gammas: Any, rounds: Any) -> Any:
    key = jax.random.key(0)

    def one(gamma: Any) -> Any:
        def body(k: Any, x: Any) -> Any:
            return x - gamma * mean(key, k, rows, labels, x)

        return jax.lax.fori_loop(0, rounds, body, jnp.zeros(D, jnp.float32))

    return one(gammas) if gammas.ndim == 0 else jax.vmap(one)(gammas)


@jax.jit
def _loss(rows: Any, labels: Any, x: Any) -> Any:
    return jnp.mean(jax.nn.softplus(-labels * (rows @ x))) + L2 / 2 * jnp.vdot(x, x)


def gradient_descent(n: int, compressor: str | None = None, sizes: int = 1) -> Run:
    """W1, W2, W3, and W5's grid of W1."""
    data = logistic(n)
    rows, labels = jnp.asarray(data.features.reshape(-1, D)), jnp.asarray(data.labels.reshape(-1))
    largest = RANDK_STEP if compressor == "RandK" else PLAIN_STEP
    gammas = jnp.asarray(largest if sizes == 1 else step_sizes(largest, sizes), jnp.float32)
    slowest = float(seconds_of(n).max())
    if compressor is None:
        pass_over = _chunks if rows.nbytes > 2**25 else _whole

        def mean(key: Any, k: Any, rows: Any, labels: Any, x: Any) -> Any:
            return pass_over(rows, labels, x)

    else:
        compress: Callable = {"RandK": _randk, "TopK": _topk}[compressor]

        def mean(key: Any, k: Any, rows: Any, labels: Any, x: Any) -> Any:
            return compress(n, key, k, _local(n, rows, labels, x))

    def run(rounds: int) -> float:
        x = _descend(mean, rows, labels, gammas, rounds)
        clock = slowest * np.arange(rounds + 1)
        assert clock[-1] > 0
        return float(_loss(rows, labels, x if x.ndim == 1 else x[-1]))

    return run


def _gradient(x: Any) -> Any:
    padded = jnp.pad(x, 1).at[0].set(-1)
    return (2 * x - padded[:-2] - padded[2:]) / 4


@jax.jit
def _value(x: Any) -> Any:
    return jnp.vdot(x, _gradient(x)) / 2 + x[0] / 8


def _begin() -> Any:
    return jnp.zeros(D, jnp.float32).at[0].set(D**0.5)


def _grid(run: Any, gammas: Any, keys: Any) -> Any:
    """Over step sizes inside, so that a seed's noise is drawn once for all of them."""
    if gammas.ndim == 0:
        return run(gammas, keys[0])
    return jax.vmap(jax.vmap(run, (0, None)), (None, 0))(gammas, keys)


@jax.jit
def _asynchronous(worker: Any, gammas: Any, keys: Any, arrivals: Any) -> Any:
    def run(gamma: Any, key: Any) -> Any:
        def body(k: Any, carry: Any) -> Any:
            x, models = carry
            i = worker[k]
            noise = jax.random.normal(jax.random.fold_in(key, k), (D,), jnp.float32)
            x = x - gamma * (_gradient(models[i]) + SIGMA * noise)
            return x, models.at[i].set(x)

        first = _begin(), jnp.broadcast_to(_begin(), (WORKERS, D))
        return jax.lax.fori_loop(0, arrivals, body, first)[0]

    return _grid(run, gammas, keys)


@jax.jit
def _rennala(gammas: Any, keys: Any, steps: Any) -> Any:
    def run(gamma: Any, key: Any) -> Any:
        def body(k: Any, x: Any) -> Any:
            draw = jax.random.fold_in(key, k)
            noise = jax.random.normal(draw, (BATCH, D), jnp.float32).sum(axis=0)
            return x - gamma * (_gradient(x) + SIGMA / BATCH * noise)

        return jax.lax.fori_loop(0, steps, body, _begin())

    return _grid(run, gammas, keys)


def _arrivals(count: int) -> tuple[Any, Any]:
    """Who arrives, in order, and after which arrival its job began; ties by the worker."""
    h = seconds_of(WORKERS)
    links = ((count + WORKERS) / np.sum(1 / h) / h).astype(np.int64) + 1
    worker = np.repeat(np.arange(WORKERS), links)
    link = np.arange(1, len(worker) + 1) - np.repeat(np.cumsum(links) - links, links)
    ticks = np.round(link * h[worker] * 2**20).astype(np.int64)
    order = np.argsort(ticks, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    before = np.empty_like(order)
    before[1:] = place[:-1]
    before[link == 1] = -1
    return worker[order][:count], before[order][:count]


def _stochastic(gamma: float, sizes: int, seeds: int) -> tuple[Any, Any]:
    gammas = jnp.asarray(gamma if sizes == 1 else step_sizes(gamma, sizes), jnp.float32)
    return gammas, jax.vmap(jax.random.key)(jnp.arange(seeds))


def asynchronous(sizes: int = 1, seeds: int = 1) -> Run:
    """W4, and W5's grid of it: a presorted schedule and one loop over arrivals."""
    gammas, keys = _stochastic(ASYNCHRONOUS_STEP, sizes, seeds)

    def run(arrivals: int) -> float:
        worker = jnp.asarray(_arrivals(arrivals)[0], jnp.int32)
        x = _asynchronous(worker, gammas, keys, arrivals)
        return float(_value(x.reshape(-1, D)[sizes - 1]))

    return run


def rennala(sizes: int = 1, seeds: int = 1) -> Run:
    """W4, and W5's grid of it: batches are found in numpy, one loop over server steps."""
    gammas, keys = _stochastic(RENNALA_STEP, sizes, seeds)

    def run(arrivals: int) -> float:
        begun = _arrivals(arrivals)[1]
        steps, last = 0, -1
        while True:
            fresh = np.flatnonzero(begun[last + 1 : last + 1 + 20 * BATCH] >= last)
            if len(fresh) < BATCH:
                break
            steps, last = steps + 1, last + 1 + int(fresh[BATCH - 1])
        return float(_value(_rennala(gammas, keys, steps).reshape(-1, D)[sizes - 1]))

    return run
