"""Rennala SGD: what a batch is, and how long it takes."""

import numpy as np
import pytest
from families import METHODS, D, N, costs_for, least_squares, schedule_for

from dopt.errors import ConfigurationError
from dopt.methods import RennalaSGD
from dopt.policies import FreshBatch


@pytest.mark.parametrize("stop", [False, True])
def test_the_policy_is_a_batch_of_fresh_gradients(stop):
    method = RennalaSGD(0.1, batch=4, stop=stop)
    assert method.policy(costs_for(method, least_squares()), D) == FreshBatch(4, stop)


def test_dropping_stale_jobs_saves_time_and_messages():
    problem = least_squares()
    patient, stopping = (
        schedule_for(METHODS[name](D, N), problem) for name in ("rennala", "rennala-stop")
    )
    assert stopping.time[-1] < patient.time[-1]
    assert stopping.steps.bits_up[-1] == stopping.K * (N + 1) * 64 * D < patient.steps.bits_up[-1]
    # A job that is dropped while its message travels has spent its gradient.
    assert stopping.steps.gradients[-1] > stopping.K * (N + 1)


def test_every_counted_gradient_is_fresh_and_weighs_the_same():
    rows = schedule_for(METHODS["rennala"](D, N), least_squares()).arrivals
    counted = rows.weight > 0
    np.testing.assert_array_equal(counted, rows.version == rows.step)
    np.testing.assert_array_equal(np.bincount(rows.step[counted]), N + 1)
    np.testing.assert_allclose(rows.weight[counted], 1 / (N + 1))


def test_an_empty_batch_is_refused():
    with pytest.raises(ConfigurationError, match="batch = 0 must be at least 1"):
        RennalaSGD(0.1, batch=0)
