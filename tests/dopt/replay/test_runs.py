"""What a replay refuses, survives, compiles and carries."""

import jax.numpy as jnp
import numpy as np
import pytest
from families import STEPS, D, N, cluster, least_squares, run, schedule_for

from compressors import RandK
from dopt.errors import ConfigurationError
from dopt.methods import EF21, MARINA, QSGD, MinibatchSGD, RennalaSGD, SGDOne
from dopt.problems import TridiagonalQuadratic
from dopt.replay import replay
from dopt.replay.loop import advance, measure
from dopt.replay.replay import run_bytes
from simulators.cluster import Cluster


EVERY = np.arange(STEPS + 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"step_sizes": [0.0]}, "positive and finite, got .0.0."),
        ({"step_sizes": [0.1, -1.0]}, "positive and finite"),
        ({"step_sizes": [float("nan")]}, "positive and finite"),
        ({"step_sizes": [float("inf")]}, "positive and finite"),
        ({"step_sizes": []}, "0 step sizes and 1 seeds are no run"),
        ({"seeds": []}, "1 step sizes and 0 seeds are no run"),
        ({"records": np.array([1, 2])}, "increase from 0 to at most K = 30"),
        ({"records": np.array([0, 2, 2])}, "increase from 0"),
        ({"records": np.array([0, 31])}, "at most K = 30"),
        ({"records": np.array([], int)}, "increase from 0"),
        ({"x0": jnp.zeros(3)}, r"x0 has shape \(3,\); .* d = 20"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    problem, method, schedule, *_ = run("minibatch")
    with pytest.raises(ConfigurationError, match=words):
        replay(problem, method, schedule, **arguments)


@pytest.mark.parametrize("size", [0.0, -0.1, float("nan")])
def test_a_bad_step_size_of_the_method_is_refused(size):
    problem, _, schedule, *_ = run("minibatch")
    with pytest.raises(ConfigurationError, match="positive and finite"):
        replay(problem, MinibatchSGD(size), schedule)


def test_a_schedule_without_steps_is_refused():
    for name in ("minibatch", "rennala"):
        problem, method, schedule, *_ = run(name)
        with pytest.raises(ConfigurationError, match="no server step"):
            replay(problem, method, schedule.until(0))


def test_workers_without_data_are_refused():
    problem, method, *_ = run("minibatch")
    few = schedule_for(method, problem, workers=cluster(4))
    with pytest.raises(ConfigurationError, match="has 4 workers and the problem has data for 6"):
        replay(problem, method, few)


def test_more_coordinates_than_there_are_are_refused_before_the_schedule():
    for method in (QSGD(0.1, RandK(50)), MARINA(0.1, RandK(50), p=0.5), EF21(0.1, RandK(50))):
        with pytest.raises(ValueError, match="K = 50 of d = 20"):
            schedule_for(method, least_squares())


def test_a_run_that_diverges_leaves_the_others_alone():
    problem, method, schedule, *_ = run("minibatch")
    good = replay(problem, method, schedule, records=EVERY, step_sizes=[0.1, 0.02])
    with_bad = replay(problem, method, schedule, records=EVERY, step_sizes=[0.1, 1e12, 0.02])
    np.testing.assert_array_equal(with_bad.diverged, [[False, True, False]])
    np.testing.assert_array_equal(with_bad.value[:, ::2], good.value)
    np.testing.assert_array_equal(with_bad.x[:, ::2], good.x)
    lost = np.isnan(with_bad.value[0, 1])
    assert not lost[:5].any()
    assert lost[-1]
    assert np.all(np.diff(lost.astype(int)) >= 0)
    np.testing.assert_array_equal(lost, np.isnan(with_bad.grad_norm2[0, 1]))
    assert not np.isinf([with_bad.value, with_bad.grad_norm2]).any()


def test_a_run_ends_where_it_is_told_to():
    problem, method, schedule, models, value, _ = run("rennala")
    seen = []

    def third(progress):
        seen.append(progress)
        return progress.done == 2

    trace = replay(problem, method, schedule, records=EVERY, seeds=[0, 1], on_record=third)
    assert [(p.done, p.steps) for p in seen] == [(0, 30), (1, 30), (2, 30)]
    np.testing.assert_array_equal(seen[-1].grad_norm2, trace.grad_norm2)
    assert trace.value.shape == (2, 1, 3)
    np.testing.assert_allclose(trace.value[0, 0], value[:3], rtol=1e-12)
    np.testing.assert_allclose(trace.x[0, 0], models[2], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(trace.time, schedule.time[:3])


def test_another_starting_point():
    problem, method, schedule, *_ = run("minibatch")
    trace = replay(problem, method, schedule, x0=2 * problem.start() + 1)
    assert trace.value[0, 0, 0] == pytest.approx(float(problem.value(2 * problem.start() + 1)))


def test_a_second_schedule_of_the_same_shape_compiles_nothing():
    problem = least_squares()
    for method in (MinibatchSGD(0.1), RennalaSGD(0.1, batch=N + 1), MARINA(0.1, RandK(4), p=0.3)):
        replay(problem, method, schedule_for(method, problem), records=EVERY)
        compiled = advance._cache_size(), measure._cache_size()
        other = Cluster(1 + np.arange(N) / 7, np.full(N, 0.01))
        schedule = schedule_for(method, problem, workers=other)
        again = replay(problem, method, schedule, records=EVERY, step_sizes=[0.3], seeds=[5])
        assert again.time[-1] != pytest.approx(schedule_for(method, problem).time[-1])
        assert (advance._cache_size(), measure._cache_size()) == compiled
        replay(problem, method, schedule, records=EVERY, step_sizes=[0.3, 0.2, 0.1, 0.05])
        assert advance._cache_size() == compiled[0] + 1


def test_what_a_run_carries_grows_with_the_workers_only_where_they_keep_state():
    problem = TridiagonalQuadratic(D)
    carried = {}
    for n in (6, 600):
        workers = Cluster(np.ones(n), 0.1)
        for method in (MinibatchSGD(0.1), QSGD(0.1, RandK(4)), SGDOne(0.1), run("marina").method):
            schedule = schedule_for(method, problem, steps=1, workers=workers)
            carried.setdefault(method.name, set()).add(
                run_bytes(problem, method, schedule, method.reads)
            )
        method = run("ef21").method
        schedule = schedule_for(method, problem, steps=1, workers=workers)
        carried.setdefault(n, run_bytes(problem, method, schedule, 1))
    assert carried[600] - carried[6] == 594 * D * 8
    for name in ("Minibatch SGD", "QSGD", "SGD One", "MARINA"):
        assert len(carried[name]) == 1, name
        assert max(carried[name]) < 10 * D * 8
