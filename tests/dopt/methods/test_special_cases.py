"""Methods that become each other, or gradient descent, where their parameters say so."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import STEPS, D, N, cluster, costs_for, least_squares, listed, schedule_for

from compressors import Identity, RandK
from dopt.methods import (
    EF21,
    MARINA,
    QSGD,
    AsynchronousSGD,
    MinibatchSGD,
    RennalaSGD,
    SGDOne,
    ShadowheartSGD,
    job_key,
    streams,
)
from dopt.problems import GaussianNoise, TridiagonalQuadratic
from dopt.replay import replay
from simulators.cluster import Cluster


EVERY = np.arange(STEPS + 1)


def trace_of(method, problem, *, workers=None, seeds=(0,)):
    schedule = schedule_for(method, problem, workers=workers)
    return replay(problem, method, schedule, records=EVERY, seeds=seeds)


def matrices(problem):
    """A_i and y_i of the least squares, as plain arrays."""
    a, y = (np.asarray(part) for part in problem.data)
    return a.reshape(N, -1, D), y.reshape(N, -1)


@pytest.mark.parametrize(
    "method", [EF21(0.2, Identity()), MARINA(0.2, RandK(4), p=1.0), MARINA(0.2, Identity(), p=0.2)]
)
def test_without_compression_they_are_gradient_descent(method):
    problem = least_squares()
    a, y = matrices(problem)
    x, values = np.zeros(D), []
    for _ in EVERY:
        residual = np.einsum("nrd,d->nr", a, x) - y
        values.append(np.mean(residual**2) / 2)
        x = x - 0.2 * np.einsum("nrd,nr->d", a, residual) / residual.size
    np.testing.assert_allclose(trace_of(method, problem).value[0, 0], values, rtol=1e-12)


def test_qsgd_without_compression_is_minibatch_sgd():
    problem = least_squares()
    qsgd = trace_of(QSGD(0.1, Identity()), problem, seeds=[0, 1])
    minibatch = trace_of(MinibatchSGD(0.1), problem, seeds=[0, 1])
    np.testing.assert_allclose(qsgd.value, minibatch.value, rtol=1e-12)
    np.testing.assert_array_equal(qsgd.bits_up, minibatch.bits_up)
    np.testing.assert_array_equal(qsgd.time, minibatch.time)


def test_one_worker_leaves_nothing_to_wait_for():
    problem = TridiagonalQuadratic(D, mu=0.1, noise=GaussianNoise(0.3))
    one = cluster(1)
    parent = trace_of(SGDOne(0.2), problem, workers=one)
    assert np.ptp(parent.value) > 1
    for method in (
        RennalaSGD(0.2, batch=1),
        AsynchronousSGD(0.2),
        AsynchronousSGD(0.2, "discard"),
        AsynchronousSGD(0.2, "plain"),
        MinibatchSGD(0.2),
    ):
        trace = trace_of(method, problem, workers=one)
        np.testing.assert_allclose(trace.value, parent.value, rtol=1e-12)
        np.testing.assert_array_equal(trace.gradients, parent.gradients)


def test_rennala_of_equal_workers_that_stops_is_minibatch_sgd():
    problem = least_squares()
    equal = Cluster(np.full(N, 1.3), 0.2)
    method = RennalaSGD(0.1, batch=N, stop=True)
    schedule = schedule_for(method, problem, workers=equal)
    # Those who answer first begin a job that is dropped at once; count their jobs without it.
    jobs = schedule.arrivals.step.astype(np.int32)
    schedule = replace(schedule, arrivals=schedule.arrivals._replace(job=jobs))
    rennala = replay(problem, method, schedule, records=EVERY)
    minibatch = trace_of(MinibatchSGD(0.1), problem, workers=equal)
    np.testing.assert_allclose(rennala.value, minibatch.value, rtol=1e-12)
    np.testing.assert_allclose(rennala.time, minibatch.time, rtol=1e-6)
    np.testing.assert_array_equal(rennala.bits_up, minibatch.bits_up)


@jax.jit
def gradient_sum(problem, x, worker, job, count):
    noise, _ = streams(job_key(jax.random.key(0), worker, job))
    return problem.grad_sum(x, count, key=noise, worker=worker, most=32)


@pytest.mark.parametrize("compressor", [Identity(), RandK(D)])
def test_shadowheart_without_compression_is_the_mean_of_all_gradients(compressor):
    problem = TridiagonalQuadratic(D, mu=0.1, noise=GaussianNoise(0.3))
    method = ShadowheartSGD(0.2, compressor, noise_ratio=20.0)
    schedule = schedule_for(method, problem)
    rows = listed(schedule).arrivals
    round_ = rows.rows(rows.step == 0)
    counts, weights = round_.gradients, round_.weight
    assert len(set(counts.tolist())) > 2
    np.testing.assert_allclose(weights, 1 / counts.sum(), rtol=1e-12)
    x = problem.start()
    for k in range(STEPS):
        total = np.zeros(D)
        for worker, b in zip(round_.worker.tolist(), counts.tolist(), strict=True):
            arguments = (jnp.int32(v) for v in (worker, k, b))
            total += np.asarray(gradient_sum(problem, x, *arguments))
        x = x - 0.2 * total / counts.sum()
    trace = replay(problem, method, schedule)
    np.testing.assert_allclose(trace.x[0, 0], x, rtol=0, atol=1e-12)


def test_fast_links_make_shadowheart_without_compression_wait_as_long_as_its_plan():
    problem = TridiagonalQuadratic(D)
    method = ShadowheartSGD(0.2, Identity(), noise_ratio=3.0)
    costs = costs_for(method, problem)
    plan = method.plan(costs, D)
    round_ = schedule_for(method, problem, steps=1).time[-1]
    busy = plan.gradients * costs.h + (plan.messages > 0) * costs.tau
    assert round_ == pytest.approx(busy.max(), rel=1e-6)
    assert round_ <= 2 * plan.t_star
