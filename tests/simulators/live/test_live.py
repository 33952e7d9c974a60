"""Live workers: replaying the schedule that was lived gives the models that were computed."""

import numpy as np
import pytest
from families import METHODS, cluster, costs_for, least_squares, listed
from rays import own_ray

from compressors import TopK
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods import EF21PP, AsynchronousSGD, MinibatchSGD
from dopt.replay import replay
from dopt.replay.plain import plain_replay
from dopt.results import Status
from simulators import timeline
from simulators.cluster import Cluster
from simulators.rates import Sine
from simulators.varying import VaryingCluster


pytestmark = pytest.mark.ray

STEPS = 12

EIGHT = Cluster(np.linspace(1.0, 2.0, 8) ** 2, np.linspace(0.01, 0.02, 8))


def test_a_ray_that_does_not_run_is_refused():
    from simulators.live import live

    method = MinibatchSGD(0.1)
    costs = costs_for(method, least_squares(n=2), cluster(2))
    with pytest.raises(ConfigurationError, match=r"with simulators.ray_session.session\(\)"):
        live(least_squares(n=2), method, costs, steps=1)


@pytest.fixture(scope="module")
def live():
    from simulators.live import live

    with own_ray("families", cpus=2):
        yield live


def check(problem, method, lived, seed):
    """Both replays give the live models, all gradients are counted, and all bits have come."""
    schedule, models = lived.schedule, lived.models
    assert (lived.status, lived.reason) == (Status.FINISHED, None)
    again = plain_replay(problem, method, schedule, seed=seed)
    np.testing.assert_array_equal(np.stack(again), np.stack(models))
    fused = replay(problem, method, schedule, seeds=[seed])
    np.testing.assert_allclose(fused.x[0, 0], models[-1], rtol=0, atol=1e-12)
    values = [float(problem.value(x)) for x in models]
    np.testing.assert_allclose(fused.value[0, 0], values, rtol=1e-12)
    assert min(values) < 0.9 * values[0]
    assert schedule.steps.gradients[-1] == schedule.arrivals.gradients.sum()
    assert np.all(np.diff(schedule.steps.tick) > 0)
    by_step = np.bincount(schedule.arrivals.step, lived.received, schedule.K)
    np.testing.assert_array_equal(np.cumsum(by_step), schedule.steps.bits_up[1:])


def check_dense_bits(costs, schedule):
    """Every message and every model was sent whole."""
    rows, steps = schedule.arrivals, schedule.steps
    assert steps.bits_up[-1] == rows.messages.sum() * costs.dense_bits
    read = len(set(zip(rows.worker.tolist(), rows.version.tolist(), strict=True)))
    assert read <= steps.bits_down[-1] / costs.dense_bits <= costs.n * (schedule.K + 1)


@pytest.mark.parametrize(
    "name",
    [
        "marina-correlated",
        "ef21-p",
        pytest.param("power-sgd", marks=pytest.mark.slow),
        pytest.param("kimad", marks=pytest.mark.slow),
    ],
)
def test_replaying_what_was_lived_gives_the_live_models(name, live):
    problem = least_squares(n=2)
    check_rounds(problem, METHODS[name](problem.d, 2), live)


def test_replaying_lived_rounds_of_sampled_workers(live):
    problem = least_squares(n=2)
    schedule = check_rounds(problem, EF21PP(0.1, TopK(4), participants=1), live)
    assert len(schedule.arrivals.worker) == STEPS + 1
    assert set(schedule.arrivals.worker[2:].tolist()) == {0, 1}


def check_rounds(problem, method, live):
    """Rounds are the same live and in virtual time, up to how long they take."""
    costs = costs_for(method, problem, cluster(2))
    lived = live(problem, method, costs, processes=1, steps=STEPS, seed=3, timeline_seed=1)
    schedule = lived.schedule
    assert schedule.K == STEPS
    check(problem, method, lived, seed=3)
    expected = listed(timeline(method.policy(costs, problem.d), costs, steps=STEPS, seed=1))
    for column in ("gradients", "bits_up", "bits_down"):
        np.testing.assert_array_equal(
            getattr(schedule.steps, column), getattr(expected.steps, column)
        )
    order = np.lexsort((schedule.arrivals.worker, schedule.arrivals.step))
    in_order = np.lexsort((expected.arrivals.worker, expected.arrivals.step))
    for lived, planned in zip(
        schedule.arrivals.rows(order), expected.arrivals.rows(in_order), strict=True
    ):
        np.testing.assert_array_equal(lived, planned)
    return schedule


@pytest.mark.parametrize("name", ["async-adaptive", "marina", "shadowheart", "ef21"])
def test_eight_workers_in_two_processes_with_delays(name, live):
    problem = least_squares(n=8)
    method = METHODS[name](problem.d, 8)
    costs = costs_for(method, problem, EIGHT)
    planned = listed(timeline(method.policy(costs, problem.d), costs, steps=2 * STEPS, seed=1))
    scale = 1.0 / planned.time[-1]
    lived = live(
        *(problem, method, costs),
        steps=2 * STEPS,
        seed=3,
        timeline_seed=1,
        seconds_scale=scale,
        processes=2,
    )
    check(problem, method, lived, seed=3)
    assert lived.processes == 2
    assert 50e6 < lived.memory_per_worker == sum(lived.memory) / 8 < 1e9
    assert 0 < lived.envelope < 1000
    # Delays are floors: nothing is faster than it is in the cluster.
    assert 0.99 <= lived.schedule.time[-1] < lived.seconds
    if name != "async-adaptive":
        for column in ("gradients", "bits_up", "bits_down"):
            np.testing.assert_array_equal(
                getattr(lived.schedule.steps, column), getattr(planned.steps, column)
            )


@pytest.mark.parametrize("name", ["async-plain", "kimad-plus"])
def test_links_that_vary_delay_live_workers(name, live):
    problem = least_squares(n=2)
    method = METHODS[name](problem.d, 2)
    links = [Sine(2000.0, 0.1, 200.0, phase) for phase in (0.0, 0.4)]
    costs = costs_for(method, problem, VaryingCluster([1.0, 1.5], links, links))
    planned = timeline(method.policy(costs, problem.d), costs, steps=STEPS)
    lived = live(
        problem, method, costs, processes=1, steps=STEPS, seconds_scale=0.5 / planned.time[-1]
    )
    again = plain_replay(problem, method, lived.schedule)
    np.testing.assert_array_equal(np.stack(again), np.stack(lived.models))
    assert lived.schedule.time[-1] >= 0.49
    if name == "kimad-plus":
        np.testing.assert_array_equal(lived.schedule.steps.bits_up, planned.steps.bits_up)
        np.testing.assert_array_equal(lived.schedule.steps.budget, planned.steps.budget)
        # Padding is charged, but does not travel.
        assert 0 < lived.received.sum() <= planned.steps.bits_up[-1]


def test_replaying_lived_batches_of_fresh_gradients(live):
    problem = least_squares(n=2)
    method = METHODS["rennala-stop"](problem.d, 2)
    costs = costs_for(method, problem, cluster(2))
    lived = live(problem, method, costs, processes=1, steps=STEPS, seed=3)
    schedule = lived.schedule
    assert schedule.K == STEPS
    check(problem, method, lived, seed=3)
    check_dense_bits(costs, schedule)


def test_a_slower_worker_answers_less_often(live):
    problem, nothing = least_squares(n=2), np.zeros(2)
    costs = Costs(np.array([1.0, 3.0]), nothing, nothing, nothing, 1, 64 * problem.d)
    method = AsynchronousSGD(0.05)
    lived = live(problem, method, costs, steps=48, seconds_scale=0.08)
    schedule = lived.schedule
    check(problem, method, lived, seed=0)
    check_dense_bits(costs, schedule)
    # The first jobs also compile.
    worker = schedule.arrivals.worker[16:]
    assert 2 < np.sum(worker == 0) / np.sum(worker == 1) < 4.5
    assert schedule.time[-1] > 0.9 * 36 * 0.08


def test_nothing_to_do_and_workers_without_data_are_refused(live):
    problem, method = least_squares(n=2), MinibatchSGD(0.1)
    costs = costs_for(method, problem, cluster(2))
    with pytest.raises(ConfigurationError, match="at least one server step"):
        live(problem, method, costs, steps=0)
    with pytest.raises(ConfigurationError, match="has 3 workers and the problem has data for 2"):
        live(problem, method, costs_for(method, problem, cluster(3)), steps=1)
