"""What holds for every method."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from families import METHODS, D, N, cluster, least_squares, listed, schedule_for

import dopt.methods
from dopt.methods import Kimad, Method
from dopt.problems import TridiagonalQuadratic
from dopt.replay import replay
from simulators.cluster import Cluster


def test_every_public_method_is_in_the_family():
    public = {
        value
        for value in vars(dopt.methods).values()
        if inspect.isclass(value) and issubclass(value, Method) and not inspect.isabstract(value)
    }
    assert public == {type(build(D, N)) for build in METHODS.values()}


@pytest.mark.parametrize("name", METHODS)
def test_without_noise_it_converges(name):
    problem, method = TridiagonalQuadratic(D, mu=0.2), METHODS[name](D, N)
    schedule = schedule_for(method, problem, steps=3000)
    trace = replay(problem, method, schedule, step_sizes=[0.02, 0.3], records=np.array([0, 3000]))
    assert np.all(trace.gap[..., 0] > 1)
    np.testing.assert_allclose(trace.gap[..., -1].min(), 0, atol=1e-12)


@pytest.mark.parametrize("factor", [8.0, 3.7e-3])
@pytest.mark.parametrize("name", METHODS)
def test_the_unit_of_time_does_not_matter(name, factor):
    problem, method = least_squares(), METHODS[name](D, N)
    schedule = schedule_for(method, problem)
    scaled = Cluster(cluster().h * factor, cluster().uplink * factor)
    if isinstance(method, Kimad):
        seconds = method.spending.seconds * factor
        method = replace(method, spending=replace(method.spending, seconds=seconds))
    other = schedule_for(method, problem, workers=scaled)
    for column, same in zip(listed(schedule).arrivals, listed(other).arrivals, strict=True):
        np.testing.assert_allclose(column, same, rtol=1e-12)
    for column, same in zip(schedule.steps[1:], other.steps[1:], strict=True):
        np.testing.assert_array_equal(column, same)
    np.testing.assert_allclose(other.time, schedule.time * factor, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_values(name):
    method = METHODS[name](D, N)
    assert method == METHODS[name](D, N)
    assert hash(method) == hash(METHODS[name](D, N))
    assert replace(method, step_size=0.7) != method
