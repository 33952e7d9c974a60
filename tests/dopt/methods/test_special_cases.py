"""Methods that become each other, or gradient descent, where their parameters say so."""

from dataclasses import replace
from operator import attrgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import STEPS, D, N, cluster, costs_for, least_squares, listed, schedule_for
from rounds import gradients, played, same

from compressors import (
    CorrelatedQuantization,
    Identity,
    PermK,
    RandK,
    TopK,
)
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
    LocalSGD,
    MinibatchSGD,
    PowerSGD,
    RennalaSGD,
    SGDOne,
    ShadowheartSGD,
    job_key,
    streams,
)
from dopt.problems import GaussianNoise, TridiagonalQuadratic
from dopt.replay import replay
from dopt.replay.plain import plain_replay
from simulators.cluster import Cluster


EVERY = np.arange(STEPS + 1)


def trace_of(method, problem, *, workers=None, seeds=(0,)):
    schedule = schedule_for(method, problem, workers=workers)
    return replay(problem, method, schedule, records=EVERY, seeds=seeds)


GD_ROUNDS = 5
TOP = TopK(4)
SHAPES = ((5, 3), (5,))


def descent(gamma):
    """Models of gradient descent."""
    models = [np.zeros(D)]
    for _ in range(GD_ROUNDS):
        models.append(models[-1] - gamma * gradients(models[-1]).mean(axis=0))
    return models


@pytest.mark.parametrize(
    "method",
    [
        DCGD(0.2, Identity()),
        DIANA(0.2, Identity()),
        DIANA(0.2, Identity(), shift=0.3),
        EF14(0.2, Identity()),
        EF21(0.2, Identity()),
        EF21(0.2, TopK(D)),
        EF21SGDM(0.2, Identity(), momentum=1.0, batch=None),
        EF21P(0.2, Identity()),
        DASHA(0.2, Identity()),
        MARINA(0.2, Identity(), p=0.2),
        MARINA(0.2, RandK(4), p=1.0),
        MARINA(0.2, CorrelatedQuantization(), p=1.0),
        MARINA(0.2, PermK(), p=1.0),
        VRMARINA(0.2, RandK(4), p=1.0),
        PPMARINA(0.2, RandK(4), p=1.0, participants=2),
        LocalSGD(0.2, 1, batch=None),
    ],
    ids=attrgetter("name"),
)
def test_without_compression_they_are_gradient_descent(method):
    _, models = played(method, rounds=GD_ROUNDS)
    same(models, descent(0.2))


def test_power_sgd_of_full_rank_is_gradient_descent_in_every_other_step():
    _, models = played(PowerSGD(0.2, Factors(3, SHAPES)), rounds=2 * GD_ROUNDS)
    same(models[::2], descent(0.2))
    np.testing.assert_array_equal(models[1::2], models[:-1:2])


def test_a_single_worker_that_shares_the_coordinates_with_nobody_sends_them_all():
    problem, one = TridiagonalQuadratic(D, mu=0.1), cluster(1)
    models, bits = [], []
    for method in (MARINA(0.2, PermK(), p=0.3), GradientDescent(0.2)):
        schedule = listed(schedule_for(method, problem, steps=GD_ROUNDS, workers=one))
        models.append(np.stack(plain_replay(problem, method, schedule)))
        bits.append(schedule.steps.bits_up)
    same(*models)
    np.testing.assert_array_equal(*bits)


@pytest.mark.parametrize(
    ("special", "general"),
    [
        (MARINA(0.1, RandK(4), p=0.3), PPMARINA(0.1, RandK(4), p=0.3, participants=N)),
        (EF21(0.1, TOP), EF21PP(0.1, TOP, participants=N)),
        (EF21(0.1, TOP), EF21SGDM(0.1, TOP, momentum=1.0, batch=None)),
        (DCGD(0.1, RandK(4)), EF21P(0.1, Identity(), RandK(4))),
        (MinibatchSGD(0.1), LocalSGD(0.1, 1)),
        (MinibatchSGD(0.1), LocalSGD(0.1, 1, participants=N)),
        (MinibatchSGD(0.1), DASHAMVR(0.1, Identity(), momentum=1.0)),
    ],
    ids=attrgetter("name"),
)
def test_methods_become_each_other(special, general):
    parent, models = played(special, rounds=GD_ROUNDS + 3)
    schedule, others = played(general, rounds=GD_ROUNDS + 3)
    same(others, models)
    np.testing.assert_array_equal(schedule.steps.bits_up, parent.steps.bits_up)
    assert np.abs(np.diff(models, axis=0)).max(axis=1).min() > 1e-3


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
