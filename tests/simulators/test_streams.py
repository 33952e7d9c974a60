"""Streams by one sort against the heap: the same schedule, ties, limits and totals included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.policies import EveryArrival, FreshBatch
from simulators import streams, timeline
from simulators.events import Engine, Limits
from simulators.streams import is_stream, stream


def costs_of(h, tau_dense, tau_down=0.0):
    h = np.asarray(h, float)
    dense = np.broadcast_to(np.asarray(tau_dense, float), h.shape)
    return Costs(h, np.zeros_like(h), dense, np.full_like(h, tau_down), 32, 3200)


def same(got, expected):
    assert got.n == expected.n
    assert got.tick == expected.tick
    for name in got.steps._fields:
        np.testing.assert_array_equal(getattr(got.steps, name), getattr(expected.steps, name), name)
    for name in got.arrivals._fields:
        column, other = getattr(got.arrivals, name), getattr(expected.arrivals, name)
        np.testing.assert_array_equal(column, other, name)
        assert column.dtype == other.dtype, name


POLICIES = st.one_of(
    st.builds(
        EveryArrival,
        full_weight_until=st.none() | st.integers(1, 6),
        max_delay=st.none() | st.integers(0, 8),
    ),
    st.builds(FreshBatch, batch=st.integers(1, 12)),
)

STEPS, DURATION, GRADIENTS = st.integers(1, 60), st.floats(0.1, 20), st.integers(1, 200)
LIMITS = st.one_of(
    STEPS.map(lambda steps: Limits(steps=steps)),
    DURATION.map(lambda seconds: Limits(seconds=seconds)),
    GRADIENTS.map(lambda gradients: Limits(gradients=gradients)),
    st.builds(Limits, steps=STEPS, seconds=DURATION, gradients=GRADIENTS),
)

# Small integers tie all the time; √2 never does; infinity never answers.
SECONDS = st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, 2**0.5, 0.7, 13.0])


@settings(deadline=None, max_examples=300)
@given(
    policy=POLICIES,
    limits=LIMITS,
    h=st.lists(SECONDS, min_size=1, max_size=7),
    link=st.sampled_from([0.0, 0.25, 0.1]),
    dead=st.booleans(),
)
def test_the_same_as_the_heap(policy, limits, h, link, dead):
    costs = costs_of([*h, np.inf] if dead else h, link)
    assert is_stream(policy, costs)
    same(stream(policy, costs, limits), Engine(policy, costs, seed=0).simulate(limits))


def test_the_same_as_the_heap_on_a_large_cluster():
    costs = costs_of(np.sqrt(np.arange(1, 301)), np.sqrt(np.arange(1, 301)) / 50)
    for policy in (EveryArrival(full_weight_until=300, max_delay=900), FreshBatch(40)):
        limits = Limits(gradients=20_000)
        same(stream(policy, costs, limits), Engine(policy, costs, seed=0).simulate(limits))


def test_asynchronous_workers_download_every_time():
    costs = costs_of([1.0, 1.5, 4.0], 0.3, tau_down=0.2)
    policy, limits = EveryArrival(), Limits(steps=100)
    assert is_stream(policy, costs)
    same(stream(policy, costs, limits), Engine(policy, costs, seed=0).simulate(limits))


@pytest.mark.parametrize(
    ("policy", "costs"),
    [
        (FreshBatch(3, stop=True), costs_of([1.0, 2.0], 0.1)),
        (FreshBatch(3), costs_of([1.0, 2.0], 0.1, tau_down=0.2)),
        (EveryArrival(), costs_of([0.0, 2.0], 0.0)),
        (EveryArrival(), costs_of([np.inf, np.inf], 0.0)),
    ],
)
def test_what_is_left_to_the_heap(policy, costs):
    assert not is_stream(policy, costs)


def test_a_limit_that_is_too_far_is_refused(monkeypatch):
    monkeypatch.setattr(streams, "MOST", 1000)
    with pytest.raises(ConfigurationError, match="more than 1000 arrivals"):
        timeline(EveryArrival(), costs_of([1.0, 2.0], 0.0), seconds=1e6)
    assert timeline(EveryArrival(), costs_of([1.0, 2.0], 0.0), gradients=500).K == 500
