"""Schedules against independent loops, closed forms and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import asynchronous_schedule, rennala_schedule

from dopt.costs import Costs
from dopt.errors import ConfigurationError, NoProgressError
from dopt.policies import Cycle, EveryArrival, FreshBatch, Rounds, pattern
from dopt.schedule import Listed, Repeated
from simulators import timeline
from simulators.events import Engine, Limits


def costs_of(h, tau=0.0, tau_dense=0.0, tau_down=0.0, message_bits=32, dense_bits=3200):
    h = np.asarray(h, float)

    def full(value):
        return np.broadcast_to(np.asarray(value, float), h.shape)

    return Costs(h, full(tau), full(tau_dense), full(tau_down), message_bits, dense_bits)


def same(a: Listed, b: Listed) -> None:
    np.testing.assert_array_equal(a.steps.tick, b.steps.tick)
    for name in ("gradients", "bits_up", "bits_down"):
        np.testing.assert_array_equal(getattr(a.steps, name), getattr(b.steps, name), name)


def test_asynchronous_equals_an_independent_loop():
    h = np.sqrt(np.arange(1, 101)) * 0.97
    schedule = timeline(EveryArrival(), costs_of(h), steps=5000)
    rows = asynchronous_schedule(h.tolist(), 5000)
    a = schedule.arrivals
    # √i has exact ties (√4 = 2√1): floats order them by their last bits, ticks by worker. Compare
    # where no tie is near.
    t = np.array([r[2] for r in rows])
    apart = (np.diff(t, prepend=-1) > 1e-6) & (np.diff(t, append=np.inf) > 1e-6)
    assert apart.mean() > 0.4
    np.testing.assert_array_equal(a.worker[apart], np.array([r[0] for r in rows])[apart])
    np.testing.assert_allclose(schedule.time[1:], t, atol=1e-5)
    np.testing.assert_array_equal(a.step, np.arange(5000))
    assert schedule.steps.gradients[-1] == 5000
    assert schedule.steps.bits_up[-1] == 5000 * 3200


def test_ties_go_to_the_worker_of_smaller_index():
    schedule = timeline(EveryArrival(), costs_of([2.0, 1.0, 1.0]), steps=8)
    np.testing.assert_array_equal(schedule.arrivals.worker, [1, 2, 0, 1, 2, 1, 2, 0])


def test_asynchronous_versions_without_ties():
    h = np.random.default_rng(0).uniform(0.5, 2.0, 37)
    schedule = timeline(EveryArrival(), costs_of(h, tau_dense=0.3), steps=3000)
    rows = asynchronous_schedule((h + 0.3).tolist(), 3000)
    np.testing.assert_array_equal(schedule.arrivals.worker, [r[0] for r in rows])
    np.testing.assert_array_equal(schedule.arrivals.version, [r[1] for r in rows])


def test_discard_and_adaptive_rules_follow_the_delay():
    h = np.random.default_rng(1).uniform(0.1, 3.0, 20)
    everything = timeline(EveryArrival(full_weight_until=20), costs_of(h), steps=2000).arrivals
    delay = everything.step - everything.version
    np.testing.assert_allclose(everything.weight, np.minimum(1, 20 / np.maximum(delay, 1)))
    assert (delay > 20).any()
    kept = timeline(EveryArrival(max_delay=20), costs_of(h), steps=2000)
    assert (kept.arrivals.weight == 0).any()
    used = kept.pruned().arrivals
    assert (used.step - used.version).max() <= 20
    dropped = kept.arrivals.rows(kept.arrivals.weight == 0)
    assert (dropped.step - dropped.version).min() > 20
    assert kept.steps.gradients[-1] == len(kept.arrivals.step)


def test_rennala_equals_an_independent_loop():
    h = np.random.default_rng(2).uniform(0.5, 5.0, 64)
    schedule = timeline(FreshBatch(10), costs_of(h), steps=200)
    steps = rennala_schedule(h.tolist(), 10, 200)
    used = schedule.pruned().arrivals
    np.testing.assert_array_equal(used.worker.reshape(200, 10), [s[0] for s in steps])
    np.testing.assert_array_equal(used.version, used.step)
    np.testing.assert_allclose(schedule.time[1:], [s[1] for s in steps], rtol=1e-6)
    np.testing.assert_array_equal(schedule.steps.gradients[1:], [s[2] for s in steps])


def test_rennala_that_stops_stale_jobs_is_never_later():
    rng = np.random.default_rng(3)
    for _ in range(20):
        costs = costs_of(rng.exponential(1.0, 8) + 0.05)
        patient = timeline(FreshBatch(5), costs, steps=50)
        stopping = timeline(FreshBatch(5, stop=True), costs, steps=50)
        assert np.all(stopping.time <= patient.time + 1e-5)


def test_rennala_that_stops_is_minibatch_for_equal_workers_and_batch_n():
    costs = costs_of(np.full(7, 2.0), tau_dense=0.5)
    rennala = timeline(FreshBatch(7, stop=True), costs, steps=20)
    minibatch = timeline(Rounds(pattern(range(7), dense=True, weight=1 / 7)), costs, steps=20)
    same(rennala, minibatch.listed())
    # Without `stop`, the first to arrive begin a job that is stale as soon as the last one is in.
    assert timeline(FreshBatch(7), costs, steps=20).time[-1] > 1.5 * rennala.time[-1]
    for name in ("worker", "version", "weight", "step"):
        np.testing.assert_array_equal(
            getattr(rennala.arrivals, name), getattr(minibatch.listed().arrivals, name), name
        )


times = st.floats(0.01, 100.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(times, times, times, times), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 5),
    st.tuples(*[st.none() | st.integers(0, 700)] * 4),
    st.booleans(),
)
def test_closed_form_of_rounds_equals_the_event_engine(workers, b, m, seed, sizes, cycle):
    h, tau, dense, down = np.array(workers).T
    costs = Costs(h, tau, dense, down, 40, 640)
    n = len(workers)
    rounds = (
        pattern(range(n), gradients=b, messages=m, weight=1 / n, bits=sizes[0], download=sizes[1]),
        pattern(range(n), dense=True, weight=1 / n, bits=sizes[2], download=sizes[3]),
    )
    policy = Cycle(rounds) if cycle else Rounds(*rounds, p=0.3)
    closed = timeline(policy, costs, steps=25, seed=seed)
    heap = Engine(policy, costs, seed).simulate(Limits(steps=25))
    assert np.abs(closed.steps.tick - heap.steps.tick).max() <= 1
    for name in ("gradients", "bits_up", "bits_down"):
        np.testing.assert_array_equal(getattr(closed.steps, name), getattr(heap.steps, name))
    written = closed.listed().arrivals
    order = np.lexsort((heap.arrivals.worker, heap.arrivals.step))
    for name in heap.arrivals._fields:
        np.testing.assert_array_equal(
            getattr(written, name), getattr(heap.arrivals, name)[order], name
        )


def test_published_round_times():
    i = np.arange(1, 11.0)
    minibatch = Rounds(pattern(range(10), dense=True, weight=0.1))
    schedule = timeline(minibatch, costs_of(i, tau_dense=i), steps=5)
    np.testing.assert_allclose(np.diff(schedule.time), 20.0, rtol=1e-9)
    qsgd = Rounds(pattern(range(10), weight=0.1))
    schedule = timeline(qsgd, costs_of(i, tau=i / 10), steps=5)
    np.testing.assert_allclose(np.diff(schedule.time), 11.0, rtol=1e-6)
    one = Rounds(pattern([0], messages=0, dense=True, weight=1.0))
    schedule = timeline(one, costs_of(i, tau=1e9, tau_dense=1e9, tau_down=1e9), steps=5)
    np.testing.assert_allclose(np.diff(schedule.time), 1.0, rtol=1e-9)
    assert schedule.steps.bits_up[-1] == schedule.steps.bits_down[-1] == 0


@pytest.mark.parametrize("factor", [0.5, 8.0, 1e-3, 3.7e4])
def test_scaling_all_times_changes_nothing_else(factor):
    h = np.random.default_rng(4).uniform(0.1, 1, 11)
    for policy in (EveryArrival(), FreshBatch(4), FreshBatch(4, stop=True)):
        a = timeline(policy, costs_of(h, tau_dense=h / 3), steps=300)
        b = timeline(policy, costs_of(h * factor, tau_dense=h / 3 * factor), steps=300)
        for left, right in zip(a.arrivals, b.arrivals, strict=True):
            np.testing.assert_array_equal(left, right)
        np.testing.assert_allclose(b.time, a.time * factor, rtol=1e-5)


def test_limits_cut_before_the_step_that_passes_them():
    costs = costs_of([1.0, 1.5, 4.0])
    for policy in (EveryArrival(), Rounds(pattern(range(3), dense=True, weight=1 / 3))):
        long = timeline(policy, costs, steps=50)
        by_time = timeline(policy, costs, seconds=20.0)
        assert np.sum(long.time <= 20.0 + 1e-9) == by_time.K + 1
        by_work = timeline(policy, costs, gradients=31)
        assert by_work.steps.gradients[-1] <= 31
        assert long.steps.gradients[by_work.K + 1] > 31


def test_many_workers_in_rounds_take_no_memory():
    n = 10_000
    policy = Rounds(pattern(range(n), weight=1 / n))
    schedule = timeline(policy, costs_of(np.ones(n)), steps=10_000)
    assert isinstance(schedule, Repeated)
    assert schedule.steps.gradients[-1] == 10**8


def test_workers_that_never_answer():
    costs = costs_of([1.0, np.inf, 2.0])
    assert 1 not in timeline(EveryArrival(), costs, steps=30).arrivals.worker
    with pytest.raises(NoProgressError, match="worker 1 never answers"):
        timeline(Rounds(pattern(range(3), dense=True, weight=1 / 3)), costs, steps=3)
    with pytest.raises(NoProgressError, match="infinite"):
        Engine(Rounds(pattern(range(3), dense=True, weight=1 / 3)), costs, 0).simulate(Limits(3))


@pytest.mark.parametrize(
    ("limits", "words"),
    [({}, "needs a limit"), ({"steps": 0}, "steps = 0"), ({"seconds": float("nan")}, "seconds")],
)
def test_bad_limits_are_refused(limits, words):
    with pytest.raises(ConfigurationError, match=words):
        timeline(EveryArrival(), costs_of([1.0]), **limits)


def test_a_cluster_without_time_is_refused():
    with pytest.raises(NoProgressError, match="no time at all"):
        timeline(EveryArrival(), costs_of([0.0, 0.0]), steps=3)


def test_times_too_far_apart_are_refused_not_wrapped():
    with pytest.raises(ConfigurationError, match="2\\^62 ticks"):
        timeline(EveryArrival(), costs_of([1e-9, 1e9]), steps=3)
