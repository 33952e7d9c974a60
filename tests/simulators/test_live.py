"""Live workers: replaying the schedule that was lived gives the models that were computed."""

import warnings

import families
import numpy as np
import pytest
from families import METHODS, cluster, costs_for, least_squares

from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods import AsynchronousSGD, MinibatchSGD
from dopt.replay import replay
from dopt.replay.plain import plain_replay


pytestmark = pytest.mark.ray

STEPS = 12


def test_a_ray_that_does_not_run_is_refused():
    from simulators.live import live

    method = MinibatchSGD(0.1)
    costs = costs_for(method, least_squares(n=2), cluster(2))
    with pytest.raises(ConfigurationError, match=r"call ray.init\(address='local'\)"):
        live(least_squares(n=2), method, costs, steps=1)


@pytest.fixture(scope="module")
def live():
    import ray

    from simulators.live import live

    with warnings.catch_warnings():
        # Ray starts its processes by fork and exec; JAX, already running, warns of the fork.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
        )
    # Workers cannot import the tests.
    ray.cloudpickle.register_pickle_by_value(families)
    yield live
    ray.cloudpickle.unregister_pickle_by_value(families)
    ray.shutdown()


def check(problem, method, costs, schedule, models, seed):
    """Both replays give the live models, and the schedule has counted what travelled."""
    again = plain_replay(problem, method, schedule, seed=seed)
    np.testing.assert_array_equal(np.stack(again), np.stack(models))
    fused = replay(problem, method, schedule, seeds=[seed])
    np.testing.assert_allclose(fused.x[0, 0], models[-1], rtol=0, atol=1e-12)
    values = [float(problem.value(x)) for x in models]
    np.testing.assert_allclose(fused.value[0, 0], values, rtol=1e-12)
    assert min(values) < 0.9 * values[0]

    rows, steps = schedule.arrivals, schedule.steps
    sizes = np.where(rows.dense, costs.dense_bits, costs.message_bits)
    assert steps.bits_up[-1] == rows.messages @ sizes
    assert steps.gradients[-1] == rows.gradients.sum()
    read = len(set(zip(rows.worker.tolist(), rows.version.tolist(), strict=True)))
    assert read <= steps.bits_down[-1] / costs.dense_bits <= costs.n * (schedule.K + 1)
    assert np.all(np.diff(steps.tick) > 0)


@pytest.mark.parametrize("name", ["minibatch", "rennala-stop", "ef21", "marina"])
def test_replaying_what_was_lived_gives_the_live_models(name, live):
    problem = least_squares(n=2)
    method = METHODS[name](problem.d, 2)
    costs = costs_for(method, problem, cluster(2))
    schedule, models = live(problem, method, costs, steps=STEPS, seed=3, timeline_seed=1)
    assert schedule.K == STEPS
    check(problem, method, costs, schedule, models, seed=3)
    if name == "marina":
        coins = np.random.default_rng(1).random(STEPS) < method.p
        coins[0] = True
        np.testing.assert_array_equal(schedule.arrivals.dense, np.repeat(coins, 2))


def test_a_slower_worker_answers_less_often(live):
    problem, nothing = least_squares(n=2), np.zeros(2)
    costs = Costs(np.array([1.0, 3.0]), nothing, nothing, nothing, 1, 64 * problem.d)
    method = AsynchronousSGD(0.05)
    schedule, models = live(problem, method, costs, steps=48, seconds_scale=0.08)
    check(problem, method, costs, schedule, models, seed=0)
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
