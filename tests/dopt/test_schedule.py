"""Schedules as data: written out, pruned, cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopt.policies import pattern
from dopt.schedule import Listed, Repeated, Steps


def steps_of(K):
    return Steps(*(np.arange(K + 1) * factor for factor in (3, 5, 7, 11, 13)))


def repeated(which):
    patterns = (
        pattern([4, 0], gradients=np.array([2, 3]), messages=np.array([1, 6]), weight=0.5),
        pattern([4, 0], dense=True, weight=np.array([0.25, 0.75])),
    )
    K = len(which)
    return Repeated(5, 0.25, steps_of(K), patterns, np.array(which, np.int8))


@given(st.lists(st.integers(0, 1), min_size=1, max_size=20))
def test_rounds_written_out(which):
    schedule = repeated(which)
    written = schedule.listed()
    rows = [
        (worker, k, k, b, m, dense, kind, 0, weight, k)
        for k, kind in enumerate(which)
        for worker, b, m, dense, weight in (
            [(4, 1, 1, True, 0.25), (0, 1, 1, True, 0.75)]
            if kind
            else [(4, 2, 1, False, 0.5), (0, 3, 6, False, 0.5)]
        )
    ]
    assert list(zip(*(column.tolist() for column in written.arrivals), strict=True)) == rows
    assert (written.n, written.K, written.tick) == (5, len(which), 0.25)
    assert written.steps is schedule.steps
    types = [np.int32, np.int32, np.int64, np.int64, np.int64, np.bool_, np.int8, np.int64]
    assert [column.dtype for column in written.arrivals] == [*types, np.float64, np.int64]


def test_time_is_ticks_times_their_length():
    schedule = repeated([0, 1, 0])
    np.testing.assert_array_equal(schedule.time, [0.0, 0.75, 1.5, 2.25])
    np.testing.assert_array_equal(schedule.listed().time, schedule.time)
    assert schedule.time.dtype == np.float64


@pytest.mark.parametrize("K", [0, 1, 3, 4])
def test_the_first_steps(K):
    whole = repeated([0, 1, 1, 0])
    first, written = whole.until(K), whole.listed().until(K)
    assert first.K == written.K == K
    for schedule in (first, written):
        for column, cut in zip(whole.steps, schedule.steps, strict=True):
            np.testing.assert_array_equal(cut, column[: K + 1])
    for one, other in zip(first.listed().arrivals, written.arrivals, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pruning_drops_what_no_step_uses_and_keeps_its_cost():
    rows = repeated([0, 1]).listed().arrivals
    weights = np.array([0.0, 0.5, 0.25, 0.0])
    schedule = Listed(5, 0.25, steps_of(2), rows._replace(weight=weights))
    pruned = schedule.pruned()
    np.testing.assert_array_equal(pruned.arrivals.worker, [0, 4])
    np.testing.assert_array_equal(pruned.arrivals.weight, [0.5, 0.25])
    assert pruned.steps is schedule.steps
    assert len(schedule.arrivals.step) == 4
