"""The plain replay against a loop that shares nothing with it, and the sizes of its messages."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import METHODS, STEPS, N, cluster, costs_for, listed, run, schedule_for
from oracles import event_loop

from compressors import Budgeted
from dopt.errors import ConfigurationError
from dopt.replay.plain import Functions, message_bits, plain_replay, single_job
from dopt.schedule import Arrivals


@pytest.mark.parametrize("name", METHODS)
def test_schedule_and_replay_equal_one_loop_that_does_both(name):
    problem, method, schedule, models, *_ = run(name)
    expected, times = event_loop(problem, method, costs_for(method, problem), STEPS)
    np.testing.assert_allclose(models, np.stack(expected), rtol=0, atol=1e-12)
    np.testing.assert_allclose(schedule.time, times, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_the_bits_of_a_schedule_are_the_sizes_of_its_messages(name):
    problem, method, schedule, *_ = run(name)
    functions = Functions(problem, replace(method, step_size=jnp.asarray(method.step_size)))
    memory, arrivals = method.init(problem.start())[1], listed(schedule).arrivals
    a = arrivals
    kinds = np.stack([a.gradients, a.messages, a.dense, a.phase, a.budget], axis=1)
    bits = np.zeros(len(kinds), np.int64)
    read = (method.broadcast(functions.method.start(problem.start())),) * method.reads
    for kind in np.unique(kinds, axis=0):
        of_kind = np.flatnonzero((kinds == kind).all(axis=1))
        row = Arrivals(*(column[of_kind[-1]] for column in arrivals))
        _, messages = functions.work(memory, read, single_job(row, N), 5, run=jax.random.key(3))
        bits[of_kind] = message_bits(messages) if row.messages else 0
        if isinstance(method.compressor, Budgeted) and method.compressor.padded:
            charged = method.compressor.bits_within(int(row.budget), problem.dtype)
            assert bits[of_kind[0]] <= charged
            bits[of_kind] = charged
    assert len(bits) > STEPS or name.startswith(("async", "sgd"))
    sent = np.bincount(arrivals.step, weights=bits, minlength=STEPS)
    np.testing.assert_array_equal(np.diff(schedule.steps.bits_up), sent)
    assert schedule.steps.bits_up[0] == 0


def test_workers_without_data_are_refused():
    problem, method, *_ = run("rennala")
    with pytest.raises(ConfigurationError, match="has 5 workers and the problem has data for 6"):
        plain_replay(problem, method, schedule_for(method, problem, workers=cluster(5)))


def test_the_data_seed_decides_noise_and_compression():
    problem, method, schedule, models, *_ = run("qsgd")
    again = plain_replay(problem, method, listed(schedule))
    other = plain_replay(problem, method, listed(schedule), seed=1)
    np.testing.assert_array_equal(np.stack(again), models)
    assert np.abs(other[-1] - models[-1]).max() > 1e-3
