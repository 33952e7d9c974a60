"""The recorded runs are those of `replay`, with memories that agree with each other."""

import jax.numpy as jnp
import numpy as np
import pytest

from compressors import TopK
from dopt.methods import EF21PP
from dopt.problems import MatrixQuadratics
from dopt.replay import replay
from simulators import timeline
from simulators.cluster import Cluster
from theory_checks.trajectories import over_timelines, record


N, D, STEPS = 4, 6, 7


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(N, D, D))
    return MatrixQuadratics.from_matrices(A @ A.transpose(0, 2, 1), rng.normal(size=(N, D)))


def test_runs_are_those_of_replay(problem):
    method = EF21PP(0.02, TopK(2), participants=2)
    bits = method.message_bits(D, problem.dtype, N)
    costs = Cluster(np.ones(N), 0.1).costs(d=D, dtype=problem.dtype, message_bits=bits)
    x0 = jnp.ones(D)
    runs = record(problem, method, costs, steps=STEPS, timelines=2, seeds=3, seed=1, x0=x0)
    schedules = [timeline(method.policy(costs, D), costs, steps=STEPS, seed=k) for k in (2, 3)]
    for k, schedule in enumerate(schedules):
        seeds = range(6 + 3 * k, 9 + 3 * k)
        trace = replay(problem, method, schedule, x0=x0, seeds=seeds, records=np.arange(STEPS + 1))
        mine = slice(3 * k, 3 * k + 3)
        np.testing.assert_allclose(runs.x[mine, -1], trace.x[:, 0], rtol=1e-12)
        np.testing.assert_allclose(runs.value[mine], trace.value[:, 0], rtol=1e-12)
        norm2 = np.sum(runs.grad[mine] ** 2, axis=-1)
        np.testing.assert_allclose(norm2, trace.grad_norm2[:, 0], rtol=1e-11)
    assert np.abs(runs.x[0, -1] - runs.x[3, -1]).max() > 1e-3
    np.testing.assert_allclose(runs.local.mean(axis=2), runs.grad, rtol=0, atol=1e-12)
    np.testing.assert_allclose(runs.workers.mean(axis=2), runs.server, rtol=0, atol=1e-12)
    moved = runs.x[:, :-1] - 0.02 * runs.server[:, 1:]
    np.testing.assert_allclose(runs.x[:, 1:], moved, rtol=0, atol=1e-12)


def test_the_error_is_that_of_means_of_timelines():
    draws = np.array([1.0, 3.0, 5.0, 7.0])
    one = over_timelines(draws, 2, 3.0, 0.0)
    assert (one.mean, one.standard_error, one.z) == pytest.approx((4.0, 2.0, 0.5))
    assert over_timelines(draws, 2, 3.0, 4.0).z == pytest.approx(0.25)
