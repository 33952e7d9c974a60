"""Slots by brute force: nothing that is still read is overwritten, and no slot is wasted."""

import numpy as np
import pytest
from families import METHODS, N, listed, run
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.policies import EveryArrival
from dopt.replay.slots import allocate
from simulators import timeline
from simulators.cluster import Cluster


def in_flight(step, version, K, reads):
    """The largest number of versions that exist and are still to be read, at any step."""
    last = {v: v for v in range(K + 1)}
    for k, v in zip(step.tolist(), version.tolist(), strict=True):
        for back in range(reads):
            read = max(v - back, 0)
            last[read] = max(last[read], k)
    return max(sum(v <= k <= until for v, until in last.items()) for k in range(K + 1))


def check(step, version, K, reads):
    """Plays a schedule on the slots; every read must find its version."""
    slots = allocate(step, version, K, reads)
    memory = np.zeros(slots.count, int)
    for k in range(K):
        for v in version[step == k].tolist():
            for back in range(reads):
                read = max(v - back, 0)
                assert memory[slots.slot[read]] == read
        memory[slots.slot[k + 1]] = k + 1
    assert slots.count == in_flight(step, version, K, reads)
    return slots.count


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), min_size=1, max_size=30))
@pytest.mark.parametrize("reads", [1, 2, 3])
def test_every_read_finds_its_version_and_no_slot_is_wasted(reads, delays):
    rows = [(k, max(k - delay, 0)) for k, some in enumerate(delays) for delay in some]
    step, version = np.array(rows, np.int64).T
    check(step, version, len(delays), reads)


@pytest.mark.parametrize("name", METHODS)
def test_the_methods_of_the_family(name):
    _, method, schedule, *_ = run(name)
    rows = listed(schedule).pruned().arrivals
    count = check(rows.step, rows.version, schedule.K, method.reads)
    if method.reads == 2:
        assert count == 2
    elif name.startswith("async"):
        assert 1 < count <= N
    else:
        assert count == 1


def test_a_discarding_server_keeps_fewer_models():
    costs = Cluster(np.linspace(1, 20, 40), 0.0).costs(d=2, dtype=np.float64, message_bits=1)
    counts = []
    for policy in (EveryArrival(), EveryArrival(max_delay=10)):
        schedule = timeline(policy, costs, steps=1000).pruned()
        rows = schedule.arrivals
        counts.append(check(rows.step, rows.version, 1000, 1))
    assert counts[0] > 30
    assert counts[1] <= 11
