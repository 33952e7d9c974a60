"""What monitors make of past transfers, against numbers by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopt.errors import ConfigurationError
from dopt.monitors import (
    ExponentialAverage,
    LastTransfer,
    MovingAverage,
    Oracle,
    Percentile,
)


RATES = (8.0, 2.0, 4.0, 1.0)
PASSIVE = [LastTransfer(), MovingAverage(3), ExponentialAverage(0.5), Percentile(25.0, 4)]


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        (LastTransfer(), 1.0),
        (MovingAverage(2), 2 / (1 / 4 + 1)),
        (MovingAverage(9), 4 / (1 / 8 + 1 / 2 + 1 / 4 + 1)),
        (ExponentialAverage(0.5), ((8.0 + 2.0) / 2 + 4.0) / 4 + 0.5),
        (ExponentialAverage(1.0), 1.0),
        (Percentile(0.0, 3), 1.0),
        (Percentile(50.0, 3), 2.0),
        (Percentile(100.0, 4), 8.0),
    ],
)
def test_estimates_by_hand(monitor, expected):
    assert monitor.estimate(RATES) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("monitor", PASSIVE)
@given(rate=st.floats(1e-3, 1e12), count=st.integers(1, 20))
def test_a_steady_link_is_known_exactly(monitor, rate, count):
    assert monitor.estimate([rate] * count) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("monitor", PASSIVE)
@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=12), st.floats(0.01, 100.0))
def test_estimates_lie_within_what_was_seen_and_scale_with_it(monitor, rates, factor):
    estimate = monitor.estimate(rates)
    assert min(rates) * (1 - 1e-12) <= estimate <= max(rates) * (1 + 1e-12)
    scaled = monitor.estimate([rate * factor for rate in rates])
    assert scaled == pytest.approx(factor * estimate, rel=1e-9)


@pytest.mark.parametrize("monitor", PASSIVE)
@given(st.lists(st.floats(1.0, 1e6), min_size=2, max_size=400))
def test_older_transfers_than_its_memory_do_not_matter(monitor, rates):
    recent = rates[-monitor.memory :]
    assert monitor.estimate(recent) == pytest.approx(monitor.estimate(rates), rel=1e-2)
    if not isinstance(monitor, ExponentialAverage):
        assert monitor.estimate(recent) == monitor.estimate(rates)


@pytest.mark.parametrize("monitor", PASSIVE)
def test_a_free_link_is_infinitely_fast_and_then_forgotten(monitor):
    assert monitor.estimate([math.inf]) == math.inf
    assert np.isfinite(monitor.estimate([math.inf] + [3.0] * 40))


def test_an_exponential_average_counts_the_newest_most():
    monitor = ExponentialAverage(0.3)
    values = [monitor.estimate([1.0] * j + [2.0] + [1.0] * (5 - j)) for j in range(1, 6)]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MovingAverage(0), "last 0 transfers"),
        (lambda: Percentile(101.0), "between 0 and 100"),
        (lambda: Percentile(50.0, 0), "last 0 transfers"),
        (lambda: ExponentialAverage(0.0), "in \\(0, 1\\]"),
        (lambda: Oracle().estimate(RATES), "asks the cluster"),
    ],
)
def test_refusals(build, words):
    with pytest.raises(ConfigurationError, match=words):
        build()
