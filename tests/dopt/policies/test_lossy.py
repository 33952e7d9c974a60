"""Lossy links: what is lost is sent again, whole, and counted, and changes what the server gets."""

from dataclasses import replace

import numpy as np
import pytest
from families import METHODS, D, N, cluster, costs_for, least_squares, schedule_for
from oracles import event_loop

from compressors import RandK, TopK
from dopt.errors import ConfigurationError
from dopt.methods import EF21, MARINA, GradientDescent
from dopt.policies import Lossy
from dopt.replay import replay
from simulators import timeline


RATE, STEPS = 0.3, 30


def lossy(method, rate=RATE, steps=STEPS, seed=0):
    problem = least_squares()
    costs = costs_for(method, problem)
    policy = Lossy(method.policy(costs, D), costs, rate)
    return problem, costs, policy, timeline(policy, costs, steps=steps, seed=seed)


def test_a_lost_message_costs_its_bits_and_those_of_every_whole_one_after_it():
    _, costs, _, schedule = lossy(EF21(0.1, TopK(4)), steps=2000)
    rows = schedule.arrivals
    lost = rows.dense
    n = len(lost)
    assert abs(lost.mean() - RATE) < 5 * np.sqrt(RATE * (1 - RATE) / n)
    spent = schedule.steps.bits_up[-1] - n * costs.message_bits
    again, left = divmod(spent, costs.dense_bits)
    assert left == 0
    # Of a lost message the whole vector is sent until it arrives: 1/(1 − rate) times on average.
    mean, spread = 1 / (1 - RATE), np.sqrt(RATE) / (1 - RATE)
    assert abs(again - lost.sum() * mean) < 5 * spread * np.sqrt(lost.sum())


def test_a_round_waits_for_what_is_sent_again():
    method = EF21(0.1, TopK(4))
    costs = costs_for(method, least_squares(n=1), cluster(1))
    policy = Lossy(method.policy(costs, D), costs, RATE)
    schedule = timeline(policy, costs, steps=200)
    seconds, bits = np.diff(schedule.time), np.diff(schedule.steps.bits_up)
    each = costs.tau_dense[0] / costs.dense_bits
    expected = costs.h[0] + bits * each
    np.testing.assert_allclose(seconds, expected, rtol=1e-5)
    assert len(set(bits.tolist())) > 2


@pytest.mark.parametrize("name", ["ef21", "diana", "marina", "dasha", "qsgd"])
def test_what_arrives_is_what_the_server_uses(name):
    """The replay of a schedule with losses is one loop of events with the same losses."""
    method = METHODS[name](D, N)
    problem, costs, policy, schedule = lossy(method)
    models, times = event_loop(problem, method, costs, STEPS, policy=policy)
    trace = replay(problem, method, schedule)
    np.testing.assert_allclose(trace.x[0, 0], models[-1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(schedule.time, times, rtol=0, atol=1e-5)


def test_where_everything_is_sent_again_nothing_is_compressed():
    """EF21 without one message that arrives is gradient descent."""
    problem, method = least_squares(), EF21(0.2, TopK(4))
    _, _, _, schedule = lossy(method)
    whole = np.ones_like(schedule.arrivals.dense)
    dense = replace(schedule, arrivals=schedule.arrivals._replace(dense=whole))
    parent = GradientDescent(0.2)
    expected = replay(problem, parent, schedule_for(parent, problem, steps=STEPS))
    np.testing.assert_allclose(replay(problem, method, dense).value, expected.value, rtol=1e-10)
    assert np.any(replay(problem, method, schedule).value != expected.value)


def test_marina_keeps_its_kinds_of_rounds_apart_from_losses():
    _, _, _, schedule = lossy(MARINA(0.1, RandK(4), p=0.3))
    rows = schedule.arrivals
    assert (rows.dense & (rows.phase == 0)).any()
    np.testing.assert_array_equal(rows.gradients, 2 - rows.phase)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    method = EF21(0.1, TopK(4))
    costs = costs_for(method, least_squares())
    with pytest.raises(ConfigurationError, match="rate ="):
        Lossy(method.policy(costs, D), costs, rate)
