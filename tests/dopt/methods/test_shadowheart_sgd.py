"""Shadowheart SGD on a cluster where some workers send vectors, some messages, and some nothing."""

import numpy as np
import pytest
from families import METHODS, D, N, costs_for, least_squares, listed, schedule_for

from compressors import RandK
from dopt.methods import ShadowheartSGD
from simulators import timeline
from simulators.cluster import Cluster


@pytest.mark.parametrize(("name", "vectors"), [("shadowheart", [0, 3]), ("shadowheart-clip", [])])
def test_the_round_is_the_plan(name, vectors):
    method = METHODS[name](D, N)
    costs = costs_for(method, least_squares())
    schedule = schedule_for(method, least_squares())
    plan = method.plan(costs, D)
    rows = listed(schedule).arrivals
    first = rows.rows(rows.step == 0)
    active = [0, 1, 2, 3]
    np.testing.assert_array_equal(first.worker, active)
    np.testing.assert_array_equal(np.flatnonzero(first.dense), vectors)
    np.testing.assert_array_equal(first.gradients, plan.t_star // costs.h[active])
    fits = plan.t_star // costs.tau[active]
    sent = np.where(first.dense, 1, np.minimum(fits, 5))
    np.testing.assert_array_equal(first.messages, sent)
    assert set(sent[~first.dense]) == ({2} if vectors else {2, 5})
    omega = np.where(first.dense, 0.0, D / 4 - 1)
    w = 1 / (first.gradients * omega + 3 * omega + 3 * sent)
    weights = w * sent / np.sum(w * sent * first.gradients)
    np.testing.assert_allclose(first.weight, weights, rtol=1e-12)
    assert np.sum(weights * first.gradients) == pytest.approx(1)
    bits = np.sum(np.where(first.dense, 64 * D, sent * 64 * 4))
    np.testing.assert_array_equal(np.diff(schedule.steps.bits_up), bits)


def test_every_round_takes_at_most_twice_the_equilibrium_time():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(1, 12))
        cluster = Cluster(np.exp(2 * rng.standard_normal(n)), np.exp(3 * rng.standard_normal(n)))
        compressor = RandK(int(rng.integers(1, D)))
        for clip in (False, True):
            noise_ratio = float(np.exp(3 * rng.standard_normal()))
            method = ShadowheartSGD(0.1, compressor, noise_ratio, clip=clip)
            costs = costs_for(method, least_squares(), cluster)
            schedule = timeline(method.policy(costs, D), costs, steps=7)
            assert schedule.time[-1] <= 7 * 2 * method.plan(costs, D).t_star * (1 + 1e-9)


def test_too_many_coordinates_are_refused():
    method = ShadowheartSGD(0.1, RandK(50), noise_ratio=1.0)
    with pytest.raises(ValueError, match="K = 50 of d = 20"):
        method.policy(costs_for(METHODS["qsgd"](D, N), least_squares()), D)
