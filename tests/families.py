"""Every method with a small problem and a cluster on which all its branches are taken."""

from collections.abc import Callable
from functools import cache

import jax.numpy as jnp
import numpy as np

from compressors import RandK, TopK
from dopt.costs import Costs
from dopt.methods import (
    EF21,
    MARINA,
    QSGD,
    AsynchronousSGD,
    Method,
    MinibatchSGD,
    RennalaSGD,
    SGDOne,
    ShadowheartSGD,
)
from dopt.problems import Problem, from_loss
from dopt.schedule import Schedule
from simulators import timeline
from simulators.cluster import Cluster


D, N = 20, 6

METHODS: dict[str, Callable[[int, int], Method]] = {
    "minibatch": lambda d, n: MinibatchSGD(0.1),
    "qsgd": lambda d, n: QSGD(0.05, RandK(d // 5)),
    "async-adaptive": lambda d, n: AsynchronousSGD(0.03, "adaptive"),
    "async-discard": lambda d, n: AsynchronousSGD(0.03, "discard"),
    "async-plain": lambda d, n: AsynchronousSGD(0.03, "plain"),
    "rennala": lambda d, n: RennalaSGD(0.1, batch=n + 1),
    "rennala-stop": lambda d, n: RennalaSGD(0.1, batch=n + 1, stop=True),
    "sgd-one": lambda d, n: SGDOne(0.05),
    "shadowheart": lambda d, n: ShadowheartSGD(0.1, RandK(d // 5), noise_ratio=5.0),
    "shadowheart-clip": lambda d, n: ShadowheartSGD(0.1, RandK(d // 5), noise_ratio=5.0, clip=True),
    "ef21": lambda d, n: EF21(0.1, TopK(d // 5)),
    "marina": lambda d, n: MARINA(0.1, RandK(d // 5), p=0.3),
}


def _half_mean_square(x, examples):
    a, y = examples
    return 0.5 * jnp.mean((a @ x - y) ** 2)


@cache
def least_squares(d: int = D, n: int | None = N, dtype: type = np.float64) -> Problem:
    """Least squares whose workers (parts of the data) have far-apart minima."""
    rng = np.random.default_rng(0)
    rows, parts = 10, n or 1
    a = rng.standard_normal((parts, rows, d)) / np.sqrt(2)
    y = np.einsum("prd,pd->pr", a, rng.standard_normal((parts, d)))
    data = (a.reshape(-1, d).astype(dtype), y.reshape(-1).astype(dtype))
    return from_loss(_half_mean_square, np.ones(d, dtype), data, batch=5, n=n)


def cluster(n: int = N) -> Cluster:
    """Times far apart: one worker so slow that its gradients are stale, links from cheap to dear."""
    h = np.array([1.013, 1.471, 2.339, 0.877, 3.617, 29.873])[:n]
    uplink = np.array([0.0571, 0.0037, 0.2113, 0.1117, 0.0293, 1.931])[:n]
    return Cluster(h, uplink)


def costs_for(method: Method, problem: Problem, workers: Cluster | None = None) -> Costs:
    """What the cluster charges the method on the problem."""
    bits = method.compressor.nbits(problem.d, problem.dtype)
    return (workers or cluster()).costs(d=problem.d, dtype=problem.dtype, message_bits=bits)


def schedule_for(method: Method, problem: Problem, steps: int, *, seed: int = 0) -> Schedule:
    """The first server steps of the method on the cluster."""
    costs = costs_for(method, problem)
    return timeline(method.policy(costs, problem.d), costs, steps=steps, seed=seed)
