"""This library on the workloads: a timeline and a replay, measured at the start and at the end.

What is timed is what a user calls, with the virtual clock, the counters of bits and the host's
work on the schedule included.
"""

from math import pi, sin

import jax.numpy as jnp
import numpy as np

from compressors import RandK, TopK
from dopt.costs import Costs
from dopt.methods import QSGD, AsynchronousSGD, Method, MinibatchSGD, RennalaSGD
from dopt.policies import EveryArrival
from dopt.problems import GaussianNoise, LogisticRegression, Problem, TridiagonalQuadratic
from dopt.replay import replay
from experiments.benchmarks.workloads import (
    ASYNCHRONOUS_STEP,
    BATCH,
    KEPT,
    L2,
    PLAIN_STEP,
    RANDK_STEP,
    RENNALA_STEP,
    SIGMA,
    TIMELINE_WORKERS,
    WORKERS,
    D,
    Run,
    logistic,
    seconds_of,
    step_sizes,
)
from simulators import timeline
from simulators.cluster import Cluster


def _free_links(n: int, method: Method, problem: Problem) -> Costs:
    """h_i = √i and communication that takes no time, but is counted."""
    bits = method.message_bits(problem.d, problem.dtype, n)
    cluster = Cluster(seconds_of(n), np.zeros(n))
    return cluster.costs(d=problem.d, dtype=problem.dtype, message_bits=bits)


def _runner(
    problem: Problem, method: Method, costs: Costs, unit: str, sizes: int = 1, seeds: int = 1
) -> Run:
    largest = float(method.step_size)
    grid = [largest] if sizes == 1 else step_sizes(largest, sizes)

    def run(units: int) -> float:
        limit = {unit: units}
        schedule = timeline(method.policy(costs, problem.d), costs, **limit)
        ends = np.array([0, schedule.K])
        trace = replay(problem, method, schedule, step_sizes=grid, seeds=range(seeds), records=ends)
        return float(trace.value[0, -1, -1])

    return run


def gradient_descent(n: int, compressor: str | None = None, sizes: int = 1) -> Run:
    """W1, W2, W3, and W5's grid of W1."""
    data = logistic(n)
    problem = LogisticRegression.from_arrays(
        data.features.reshape(-1, D), data.labels.reshape(-1), n=n, batch=None, l2=L2
    )
    method = {
        None: MinibatchSGD(PLAIN_STEP),
        "RandK": QSGD(RANDK_STEP, RandK(KEPT)),
        "TopK": QSGD(PLAIN_STEP, TopK(KEPT)),
    }[compressor]
    return _runner(problem, method, _free_links(n, method, problem), "steps", sizes)


def _chain(method: Method, sizes: int, seeds: int) -> Run:
    # With this mu the chain has no shift: its matrix is ¼ tridiag(−1, 2, −1) itself.
    problem = TridiagonalQuadratic(
        D, mu=sin(pi / (2 * (D + 1))) ** 2, noise=GaussianNoise(SIGMA), dtype=jnp.float32
    )
    return _runner(
        problem, method, _free_links(WORKERS, method, problem), "gradients", sizes, seeds
    )


def asynchronous(sizes: int = 1, seeds: int = 1) -> Run:
    """W4, and W5's grid of it."""
    return _chain(AsynchronousSGD(ASYNCHRONOUS_STEP, "plain"), sizes, seeds)


def rennala(sizes: int = 1, seeds: int = 1) -> Run:
    """W4, and W5's grid of it."""
    return _chain(RennalaSGD(RENNALA_STEP, batch=BATCH), sizes, seeds)


def shadowheart(n: int) -> Run:
    """W6: the middle regime of the study."""
    from experiments.benchmarks.mnist_rivals import study

    s = study(n)
    return _runner(s.problem, s.method, s.costs, "steps")


def arrivals() -> Run:
    """W6: a timeline and nothing else."""
    cluster = Cluster(seconds_of(TIMELINE_WORKERS), np.zeros(TIMELINE_WORKERS))
    costs = cluster.costs(d=D, dtype=jnp.float32, message_bits=32 * D)
    return lambda count: float(timeline(EveryArrival(), costs, steps=count).time[-1])
