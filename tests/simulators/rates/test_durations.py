"""Recorded times of gradients against a loop over gradients in exact fractions."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopt.errors import ConfigurationError, DataError
from simulators.rates import Durations


@given(
    st.lists(st.floats(0.0, 10.0), min_size=1, max_size=8),
    st.floats(0.0, 1e6),
    st.integers(0, 50),
    st.integers(0, 10**6),
)
def test_gradients_take_their_times_one_after_the_other(seconds, start, gradients, before):
    now = Fraction(start)
    for j in range(before, before + gradients):
        now += Fraction(seconds[j % len(seconds)])
    found = Durations(seconds).end(start, gradients, before)
    assert found == pytest.approx(float(now), rel=2e-15, abs=1e-13)


def test_many_gradients_are_as_exact_as_one():
    durations = Durations([0.5, 0.25, 0.125])
    assert durations.end(0.0, 3 * 10**12, 1) == 875 * 10**9
    assert durations.end(7.0, 3 * 10**12 + 2, 2) == 7 + 875 * 10**9 + 0.625
    assert durations.mean() == 0.875 / 3


def test_one_gradient_takes_its_recorded_seconds_to_the_bit():
    seconds = np.random.default_rng(0).uniform(0, 1, 1000)
    durations = Durations(seconds)
    assert [durations.end(0.0, 1, j) for j in range(2000)] == [*seconds, *seconds]


def test_nothing_takes_no_time_and_a_worker_that_never_starts_never_ends():
    durations = Durations([0.5, 0.25])
    assert durations.end(3.0, 0, 7) == 3.0
    assert durations.end(math.inf, 1, 7) == durations.end(math.inf, 2) == math.inf
    assert Durations([0.0]).end(2.0, 5) == 2.0


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        ([], "seconds is empty"),
        ([1.0, -1.0], r"seconds\[1\] = -1.0 is not a duration"),
        ([math.nan], r"seconds\[0\] = nan"),
        ([math.inf], r"seconds\[0\] = inf"),
        ([[1.0]], r"seconds has shape \(1, 1\)"),
    ],
)
def test_what_are_no_durations_is_refused(seconds, message):
    with pytest.raises(DataError, match=message):
        Durations(np.array(seconds))


@pytest.mark.parametrize("arguments", [(-1.0, 1), (1.0, -1), (1.0, 1, -1), (math.nan, 1)])
def test_negative_times_and_counts_are_refused(arguments):
    with pytest.raises(ConfigurationError, match="all must be numbers >= 0"):
        Durations([1.0]).end(*arguments)


def test_configs_and_reprs():
    several = [Durations([1.0]), Durations([1.0, 1.0]), Durations([1.0, 2.0]), Durations([2.0, 1])]
    configs = {json.dumps(one.to_config(), allow_nan=False) for one in several}
    assert len(configs) == len(set(several)) == 4
    assert repr(several[0]) == "Durations(1 s)"
    assert repr(several[2]) == "Durations(2 gradients, 1.5 s on average)"
