"""Every way to replay a schedule gives the numbers of the plain replay."""

from dataclasses import dataclass

import numpy as np
import pytest
from families import METHODS, STEPS, costs_for, least_squares, listed, run, same, schedule_for

from dopt.policies import Assign, Count, Policy, Step
from dopt.replay import replay
from dopt.replay.plain import plain_replay
from simulators import timeline


EVERY = np.arange(STEPS + 1)


@pytest.mark.parametrize("name", METHODS)
def test_all_ways_give_the_numbers_of_the_plain_replay(name):
    problem, method, schedule, models, value, grad_norm2 = run(name)
    written = listed(schedule)
    ways = [(schedule, "auto"), (written, "events")]
    if name in ("qsgd", "shadowheart", "ef21", "marina-correlated", "power-sgd", "ef21-pp"):
        ways.append((written, "rounds"))
    for way, by in ways:
        trace = replay(problem, method, way, records=EVERY, by=by)
        same(trace, value, grad_norm2, models[-1])
        np.testing.assert_array_equal(trace.time, schedule.time)
        np.testing.assert_array_equal(trace.bits_up, schedule.steps.bits_up)


def test_rounds_are_replayed_by_events_when_asked():
    problem, method, schedule, models, value, grad_norm2 = run("ef21")
    trace = replay(problem, method, schedule, records=EVERY, by="events")
    same(trace, value, grad_norm2, models[-1])


@dataclass(frozen=True)
class EveryOther(Policy):
    """The server moves at every second arrival, however old: steps of mixed versions."""

    dense: bool

    def run(self, n, seed):
        actions = [Assign(worker, dense=self.dense) for worker in range(n)]
        while True:
            arrival = yield actions
            arrival = yield [Count(0.5), Assign(arrival.worker, dense=self.dense)]
            actions = [Count(0.7), Step(), Assign(arrival.worker, dense=self.dense)]


@pytest.mark.parametrize("name", ["minibatch", "ef21"])
def test_steps_of_mixed_versions_go_by_events(name):
    problem, method = least_squares(), run(name).method
    schedule = timeline(EveryOther(name == "minibatch"), costs_for(method, problem), steps=STEPS)
    read = schedule.arrivals.version.reshape(STEPS, 2)
    assert (read[:, 0] != read[:, 1]).sum() > 3
    with pytest.raises(NotImplementedError, match="use by='events'"):
        replay(problem, method, schedule, by="rounds")
    models = plain_replay(problem, method, schedule)
    trace = replay(problem, method, schedule, records=EVERY)
    np.testing.assert_allclose(trace.x[0, 0], models[-1], rtol=0, atol=1e-12)


def test_workers_with_state_that_answer_twice_in_a_step_go_by_events():
    problem, method = least_squares(), run("ef21").method
    schedule = schedule_for(run("rennala").method, problem).pruned()
    with pytest.raises(NotImplementedError, match="come from different workers"):
        replay(problem, method, schedule, by="rounds")
    models = plain_replay(problem, method, schedule)
    np.testing.assert_allclose(
        replay(problem, method, schedule).x[0, 0], models[-1], rtol=0, atol=1e-12
    )
