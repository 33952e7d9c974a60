"""Every method on a small problem and a cluster where all of its branches are taken."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from compressors import (
    Budgeted,
    CorrelatedQuantization,
    NaturalCompression,
    PermK,
    RandK,
    TopK,
)
from compressors.allocation import Allocation, Knapsack, Uniform
from compressors.ladders import TopKLadder
from dopt.costs import Costs
from dopt.methods import (
    DASHA,
    DASHAMVR,
    DCGD,
    DIANA,
    EF14,
    EF21,
    EF21P,
    EF21PP,
    EF21SGDM,
    MARINA,
    PPMARINA,
    QSGD,
    VRMARINA,
    AsynchronousSGD,
    Factors,
    GradientDescent,
    Kimad,
    LocalSGD,
    Method,
    MinibatchSGD,
    PowerSGD,
    RennalaSGD,
    SGDOne,
    ShadowheartSGD,
)
from dopt.policies import RoundTime
from dopt.problems import Problem, from_loss
from dopt.replay.plain import plain_replay
from dopt.schedule import Listed, Schedule
from simulators import timeline
from simulators.cluster import Cluster


D, N, STEPS = 20, 6, 30


def budgeted(d: int, allocation: Allocation) -> Budgeted:
    """Two layers of d entries in all, on ladders of TopK."""
    ladder = TopKLadder((0.1, 0.4, 1.0))
    return Budgeted((ladder,) * 2, (d - d // 2, d // 2), allocation)


METHODS: dict[str, Callable[[int, int], Method]] = {
    "minibatch": lambda d, n: MinibatchSGD(0.1),
    "qsgd": lambda d, n: QSGD(0.05, RandK(d // 5)),
    "async-adaptive": lambda d, n: AsynchronousSGD(0.03, "adaptive"),
    "async-discard": lambda d, n: AsynchronousSGD(0.03, "discard"),
    "async-plain": lambda d, n: AsynchronousSGD(0.03, "plain"),
    "rennala": lambda d, n: RennalaSGD(0.1, batch=n + 1),
    "rennala-stop": lambda d, n: RennalaSGD(0.1, batch=n + 1, stop=True),
    "sgd-one": lambda d, n: SGDOne(0.05),
    "shadowheart": lambda d, n: ShadowheartSGD(0.1, RandK(d // 5), noise_ratio=3.0),
    "shadowheart-clip": lambda d, n: ShadowheartSGD(0.1, RandK(d // 5), noise_ratio=3.0, clip=True),
    "gradient-descent": lambda d, n: GradientDescent(0.1),
    "dcgd": lambda d, n: DCGD(0.1, NaturalCompression()),
    "diana": lambda d, n: DIANA(0.1, RandK(d // 5)),
    "ef14": lambda d, n: EF14(0.1, TopK(d // 5)),
    "ef21": lambda d, n: EF21(0.1, TopK(d // 5)),
    "ef21-pp": lambda d, n: EF21PP(0.1, TopK(d // 5), participants=min(4, n)),
    "ef21-sgdm": lambda d, n: EF21SGDM(0.1, TopK(d // 5), momentum=0.3),
    "ef21-p": lambda d, n: EF21P(0.1, TopK(d // 5)),
    "dasha": lambda d, n: DASHA(0.1, RandK(d // 5)),
    "dasha-mvr": lambda d, n: DASHAMVR(0.1, RandK(d // 5), momentum=0.3, batch=2, first=5),
    "kimad": lambda d, n: Kimad(0.05, *[budgeted(d, Uniform())] * 2, RoundTime(31.0)),
    "kimad-plus": lambda d, n: Kimad(
        0.05, *[budgeted(d, Knapsack(50))] * 2, RoundTime(31.0), batch=2
    ),
    "marina": lambda d, n: MARINA(0.1, RandK(d // 5), p=0.3),
    "marina-correlated": lambda d, n: MARINA(0.1, CorrelatedQuantization(), p=0.3),
    "marina-permk": lambda d, n: MARINA(0.1, PermK(), p=0.3),
    "vr-marina": lambda d, n: VRMARINA(0.1, RandK(d // 5), p=0.3, batch=2, full=3),
    "pp-marina": lambda d, n: PPMARINA(0.1, RandK(d // 5), p=0.3, participants=min(4, n)),
    "power-sgd": lambda d, n: PowerSGD(0.1, Factors(2, ((d // 4, 3), (d - 3 * (d // 4),)))),
    "local-sgd": lambda d, n: LocalSGD(0.05, local_steps=3),
    "local-sgd-sampled": lambda d, n: LocalSGD(0.05, 2, participants=min(4, n)),
}


def _loss(x, examples):
    a, y = examples
    return jnp.mean((a @ x - y) ** 2) / 2


@cache
def least_squares(d: int = D, n: int = N, dtype: Any = np.float64) -> Problem:
    """f_i(x) = ‖A_i x − y_i‖²/20, with minima far apart; L is about 2, mu about 0.1."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((n, 10, d))
    y = np.einsum("nrd,nd->nr", a, 1 + rng.standard_normal((n, d)))
    data = (a.reshape(-1, d).astype(dtype), y.reshape(-1).astype(dtype))
    return from_loss(_loss, np.zeros(d, dtype), data, batch=5, n=n)


def cluster(n: int = N) -> Cluster:
    """Times that never tie, links from cheap to dear, and a last worker of stale gradients."""
    h = np.array([1.013, 1.471, 1.559, 0.877, 3.617, 29.873])
    uplink = np.array([0.0571, 0.3727, 0.3113, 0.0037, 0.7129, 1.931])
    return Cluster(h[:n], uplink[:n])


def costs_for(method: Method, problem: Problem, workers: Cluster | None = None) -> Costs:
    """What the cluster charges for the method on the problem."""
    workers = workers or cluster()
    bits = method.message_bits(problem.d, problem.dtype, workers.n)
    return workers.costs(d=problem.d, dtype=problem.dtype, message_bits=bits)


def schedule_for(
    method: Method, problem: Problem, *, steps: int = STEPS, workers: Cluster | None = None
) -> Schedule:
    """The method's first server steps on the cluster."""
    costs = costs_for(method, problem, workers)
    return timeline(method.policy(costs, problem.d), costs, steps=steps)


def listed(schedule: Schedule) -> Listed:
    """The schedule with all its arrivals."""
    return schedule if isinstance(schedule, Listed) else schedule.listed()


@jax.jit
def measures(problem, models):
    return jax.vmap(problem.value_and_grad)(models)


class Run(NamedTuple):
    """A method of the family, its schedule, and what the plain replay makes of it."""

    problem: Problem
    method: Method
    schedule: Schedule
    models: np.ndarray
    value: np.ndarray
    grad_norm2: np.ndarray


@cache
def run(name: str) -> Run:
    """The reference that other ways to run a method are compared with; computed once."""
    problem, method = least_squares(), METHODS[name](D, N)
    schedule = schedule_for(method, problem)
    models = np.stack(plain_replay(problem, method, listed(schedule)))
    value, gradient = measures(problem, models)
    norm2 = np.sum(np.asarray(gradient) ** 2, axis=1)
    return Run(problem, method, schedule, models, np.asarray(value), norm2)


def same(trace, value, grad_norm2, x):
    """The trace has these numbers, up to the rounding of sums in another order."""
    np.testing.assert_allclose(trace.value, np.broadcast_to(value, trace.value.shape), rtol=1e-12)
    np.testing.assert_allclose(
        trace.grad_norm2, np.broadcast_to(grad_norm2, trace.grad_norm2.shape), rtol=1e-12
    )
    np.testing.assert_allclose(trace.x, np.broadcast_to(x, trace.x.shape), rtol=0, atol=1e-12)
