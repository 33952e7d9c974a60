"""Many runs at once, in any arrangement, are the same runs."""

import importlib

import jax
import numpy as np
import pytest
from families import STEPS, least_squares, run, same, schedule_for

from dopt.replay import record_steps, replay
from dopt.replay.replay import run_bytes


EVERY = np.arange(STEPS + 1)
FEW = np.array([0, 1, 10, STEPS])
GRID = {"step_sizes": [0.02, 0.1, 0.005], "seeds": [0, 7]}
module = importlib.import_module("dopt.replay.replay")  # `dopt.replay.replay` is the function


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("minibatch", "qsgd", "rennala")),
        *("async-adaptive", "shadowheart", "ef21", "marina"),
    ],
)
def test_a_grid_at_once_is_its_runs_one_at_a_time(name):
    problem, method, schedule, *_ = run(name)
    grid = replay(problem, method, schedule, records=FEW, **GRID)
    for r, g in ((0, 0), (0, 1), (1, 2)):
        size, seed = GRID["step_sizes"][g], GRID["seeds"][r]
        one = replay(problem, method, schedule, records=FEW, step_sizes=[size], seeds=[seed])
        same(one, grid.value[r, g], grid.grad_norm2[r, g], grid.x[r, g])
    random = name != "ef21"
    assert np.any(grid.x[0] != grid.x[1]) == random


@pytest.mark.parametrize(("name", "slots"), [("ef21", 1), ("marina", 2), ("rennala", 1)])
def test_runs_that_do_not_fit_side_by_side_go_in_passes(name, slots, monkeypatch):
    problem, method, schedule, *_ = run(name)
    whole = replay(problem, method, schedule, records=FEW, **GRID)
    two = 4 * run_bytes(problem, method, schedule, slots)
    monkeypatch.setattr(module, "_memory", lambda: two)
    calls = []
    parts = replay(
        problem,
        method,
        schedule,
        records=FEW,
        on_record=lambda progress: bool(calls.append(progress.done)),
        **GRID,
    )
    assert calls == FEW.tolist() * 4
    same(parts, whole.value, whole.grad_norm2, whole.x)


def test_a_run_that_does_not_fit_into_memory_is_refused(monkeypatch):
    problem, method, schedule, *_ = run("ef21")
    monkeypatch.setattr(module, "_memory", lambda: 2 * run_bytes(problem, method, schedule, 1) - 1)
    with pytest.raises(ValueError, match=r"one run carries .* lower d or the number of workers"):
        replay(problem, method, schedule)


@pytest.mark.parametrize("name", ["minibatch", "qsgd", "rennala", "ef21", "marina"])
def test_workers_side_by_side_in_uneven_blocks_give_the_same(name, monkeypatch):
    problem, method, schedule, models, value, grad_norm2 = run(name)
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * problem.d * 8)
    same(replay(problem, method, schedule, records=EVERY), value, grad_norm2, models[-1])


@pytest.mark.parametrize("name", ["marina", "async-discard"])
def test_records_change_nothing_but_where_is_measured(name):
    problem, method, schedule, models, value, grad_norm2 = run(name)
    records = np.array([0, 1, 2, 11, 13, 29])
    trace = replay(problem, method, schedule, records=records)
    same(trace, value[records], grad_norm2[records], models[29])
    np.testing.assert_array_equal(trace.step, records)
    np.testing.assert_array_equal(trace.time, schedule.time[records])
    np.testing.assert_array_equal(trace.gradients, schedule.steps.gradients[records])
    np.testing.assert_array_equal(trace.bits_down, schedule.steps.bits_down[records])


def test_usual_records_are_every_step_at_first_and_then_ever_rarer():
    long = record_steps(100_000)
    np.testing.assert_array_equal(long[:65], np.arange(65))
    assert long[-1] == 100_000
    gaps = np.diff(long[:-1])
    octave = 2 ** np.floor(np.log2(np.maximum(long[:-2], 1)))
    np.testing.assert_array_equal(gaps, np.maximum(1, octave // 32))
    short = record_steps(777)
    assert short[-1] == 777
    np.testing.assert_array_equal(short[:-1], long[long < 777])
    np.testing.assert_array_equal(record_steps(1), [0, 1])


@pytest.mark.parametrize("name", ["minibatch", "rennala", "shadowheart", "ef21", "marina"])
def test_single_precision_without_x64(name):
    double = run(name)
    problem = least_squares(dtype=np.float32)
    schedule = schedule_for(double.method, problem)
    with jax.enable_x64(False):
        trace = replay(problem, double.method, schedule, records=EVERY)
    assert trace.x.dtype == np.float32
    np.testing.assert_allclose(trace.value[0, 0], double.value, rtol=1e-4)
    np.testing.assert_allclose(trace.x[0, 0], double.models[-1], rtol=0, atol=1e-4)
