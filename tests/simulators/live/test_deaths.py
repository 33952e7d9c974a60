"""Live workers that die, hang or never answer, and runs that are stopped."""

import copy
import os
import signal
import time
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
from families import METHODS, cluster, costs_for, least_squares
from rays import own_ray

from dopt.costs import Costs
from dopt.errors import ConfigurationError, DoptError
from dopt.methods import AsynchronousSGD, MinibatchSGD
from dopt.policies import Assign, Cancel, Count, Policy, Step
from dopt.replay.plain import plain_replay
from dopt.results import Status
from simulators.cluster import Cluster


pytestmark = pytest.mark.ray

N, PROCESSES = 4, 2


@pytest.fixture(scope="module")
def live():
    from simulators.live import live

    with own_ray("families", cpus=2):
        yield live


def hosts():
    """The processes of workers that this one has started and that are not over."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[0].startswith("ray::Host"):
                found.append(process)
        except (psutil.Error, IndexError):  # it is ending
            continue
    return sorted(found, key=lambda process: process.create_time())


def all_ended(seconds=20.0):
    """Whether no process of workers is left, or soon is not."""
    end = time.monotonic() + seconds
    while hosts() and time.monotonic() < end:
        time.sleep(0.05)
    return not hosts()


def signalled(number, *, at=5, count=1):
    """An `on_step` that sends a signal to processes of workers at one step."""

    def on_step(k):
        if k == at:
            for host in hosts()[:count]:
                os.kill(host.pid, number)

    return on_step


def check_replay(problem, method, lived):
    again = plain_replay(problem, method, lived.schedule)
    np.testing.assert_array_equal(np.stack(again), np.stack(lived.models))
    assert len(lived.received) == len(lived.schedule.arrivals.step)


def setting(name):
    problem = least_squares(n=N)
    method = METHODS[name](problem.d, N)
    return problem, method, costs_for(method, problem, cluster(N))


def silent(lived):
    """The workers of the processes that gave no answer at the end."""
    return {i for i in range(N) if lived.memory[i % PROCESSES] is None}


def test_asynchronous_sgd_goes_on_without_the_workers_of_a_killed_process(live):
    problem, method, costs = setting("async-adaptive")
    lived = live(
        problem, method, costs, steps=60, processes=PROCESSES, on_step=signalled(signal.SIGKILL)
    )
    assert (lived.status, lived.reason, lived.schedule.K) == (Status.FINISHED, None, 60)
    check_replay(problem, method, lived)
    dead = silent(lived)
    assert dead in ({0, 2}, {1, 3})
    later = lived.schedule.arrivals.worker[20:]
    assert dead.isdisjoint(later.tolist())
    assert all_ended()


def test_rounds_end_when_a_process_is_killed_and_keep_what_was_before(live):
    problem, method, costs = setting("minibatch")
    lived = live(
        problem, method, costs, steps=60, processes=PROCESSES, on_step=signalled(signal.SIGKILL)
    )
    assert lived.status is Status.NO_PROGRESS
    one, other = sorted(silent(lived))
    assert f"workers {one} and {other} died as a process ended" in lived.reason
    assert 5 <= lived.schedule.K < 60
    assert lived.schedule.stuck == lived.reason
    assert lived.schedule.arrivals.step[-1] == lived.schedule.K - 1
    check_replay(problem, method, lived)
    assert all_ended()


def test_nobody_is_left(live):
    problem, method, costs = setting("async-adaptive")
    lived = live(
        *(problem, method, costs),
        steps=200,
        processes=PROCESSES,
        on_step=signalled(signal.SIGKILL, count=2),
    )
    assert lived.status is Status.NO_PROGRESS
    assert "workers 0, 1, 2 and 3 died" in lived.reason
    assert 5 <= lived.schedule.K < 200
    check_replay(problem, method, lived)
    assert lived.memory == (None, None)
    assert np.isnan(lived.memory_per_worker)
    assert all_ended()


def test_patience_ends_with_processes_that_hang(live):
    problem, method, costs = setting("minibatch")
    lived = live(
        *(problem, method, costs),
        steps=60,
        processes=PROCESSES,
        patience=1.5,
        on_step=signalled(signal.SIGSTOP),
    )
    assert lived.status is Status.NO_PROGRESS
    one, other = sorted(silent(lived))
    assert "nothing has arrived for 1.5 s" in lived.reason
    assert f"workers {one} and {other}" in lived.reason
    assert lived.schedule.K == 5
    check_replay(problem, method, lived)
    assert all_ended()


def test_a_worker_of_infinite_time_never_answers(live):
    problem = least_squares(n=N)
    h = np.array([1.0, np.inf, 1.0, 1.0])
    slow = Cluster(h, np.zeros(N))
    rounds, stream = MinibatchSGD(0.1), AsynchronousSGD(0.05)
    lived = live(
        problem,
        rounds,
        costs_for(rounds, problem, slow),
        steps=3,
        processes=PROCESSES,
        patience=2.0,
    )
    assert lived.status is Status.NO_PROGRESS
    assert "worker 1 will never answer, as a time is infinite" in lived.reason
    assert (lived.schedule.K, len(lived.models), len(lived.received)) == (0, 1, 0)
    lived = live(problem, stream, costs_for(stream, problem, slow), steps=20, processes=PROCESSES)
    assert lived.status is Status.FINISHED
    assert set(lived.schedule.arrivals.worker.tolist()) == {0, 2, 3}
    check_replay(problem, stream, lived)


def test_a_run_that_is_stopped_keeps_what_was_lived(live):
    problem, method, costs = setting("minibatch")
    done = []
    lived = live(
        *(problem, method, costs),
        steps=1000,
        processes=PROCESSES,
        stopping=lambda: len(done) >= 7,
        on_step=done.append,
    )
    assert (lived.status, lived.reason) == (Status.INTERRUPTED, "stopped on request")
    assert done == list(range(1, 8))
    assert lived.schedule.K == 7
    assert lived.schedule.stuck is None
    check_replay(problem, method, lived)
    assert all_ended()


@dataclass(frozen=True)
class Interrupting(Policy):
    """Worker 0 alone moves the server; worker 1 is interrupted each time, and asked again."""

    def run(self, n, seed):
        arrival = yield [Assign(i, dense=True) for i in range(2)]
        while True:
            assert arrival.worker == 0
            arrival = yield [Count(), Step(), Cancel(1), *(Assign(i, dense=True) for i in range(2))]


def test_an_interrupted_worker_is_free_at_once(live):
    problem, nothing = least_squares(n=2), np.zeros(2)
    costs = Costs(np.array([1.0, 30.0]), nothing, nothing, nothing, 1, 64 * problem.d)
    method = MinibatchSGD(0.05)
    object.__setattr__(method, "policy", lambda costs, d: Interrupting())
    lived = live(problem, method, costs, steps=10, seconds_scale=0.1, processes=1)
    assert lived.status is Status.FINISHED
    # Had it to end its delays of 3 s, its process would not have answered at the end.
    assert lived.schedule.time[-1] < 2.9
    assert set(lived.schedule.arrivals.worker.tolist()) == {0}
    check_replay(problem, method, lived)


class Deadly(type(least_squares(n=N))):
    """A problem that ends whoever unpacks it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_process_that_dies_as_it_starts_is_an_error(live):
    problem, method, costs = setting("minibatch")
    deadly = copy.copy(problem)
    object.__setattr__(deadly, "__class__", Deadly)
    with pytest.raises(DoptError, match=r"of workers on 127\.0\.0\.1 ended while it"):
        live(deadly, method, costs, steps=3, processes=PROCESSES)
    assert all_ended()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"processes": 0}, "processes = 0"),
        ({"patience": 0.0}, "patience = 0"),
        ({"seconds_scale": -1.0}, "seconds_scale = -1"),
    ],
)
def test_what_makes_no_sense_is_refused(given, match, live):
    problem, method, costs = setting("minibatch")
    with pytest.raises(ConfigurationError, match=match):
        live(problem, method, costs, steps=3, **given)


@pytest.mark.parametrize("n", [24, pytest.param(100, marks=pytest.mark.slow)])
def test_many_workers_share_four_processes(n, live):
    problem = least_squares(n=n)
    method = MinibatchSGD(0.1)
    costs = costs_for(method, problem, Cluster(np.ones(n), np.zeros(n)))
    seen = []
    lived = live(problem, method, costs, steps=6, on_step=lambda k: seen.append(len(hosts())))
    assert lived.status is Status.FINISHED
    assert lived.processes == 4
    assert set(seen) == {4}
    check_replay(problem, method, lived)
    np.testing.assert_array_equal(np.bincount(lived.schedule.arrivals.worker), [6] * n)
    assert lived.memory_per_worker < 4 * 500e6 / n
    assert all_ended()
