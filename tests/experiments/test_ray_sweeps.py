"""Sweeps on Ray: the numbers of one process, whatever dies on the way."""

import os
import random
import signal
import time

import pytest
import rays
from sweeps import same

from dopt.errors import InterruptedRunError
from dopt.results import Status
from dopt.results.read import load
from experiments.executors import OnRay, Order
from experiments.study import grids
from simulators.ray_session import import_ray
from simulators.ray_tasks import Need


pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """Compiled code is shared between the processes: what is tested is not the compiler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield


@pytest.fixture(scope="module")
def ray(compiled):
    with rays.own_ray(cpus=2) as ray:
        yield ray


def tasks():
    """The processes in which tasks run now."""
    return [
        process for process in rays.descendants() if rays.words(process).startswith("ray::dopt")
    ]


class Killing:
    """Asked whether to stop, says no, and now and then kills a process with a task in it."""

    def __init__(self, times, seed):
        self.random, self.left, self.killed = random.Random(seed), times, 0
        self.due = None

    def __call__(self):
        if self.killed == self.left or not (found := tasks()):
            return False
        if self.due is None:
            self.due = time.monotonic() + self.random.uniform(0.0, 0.5)
        if time.monotonic() >= self.due:
            os.kill(self.random.choice(found).pid, signal.SIGKILL)
            self.killed += 1
            self.due = time.monotonic() + self.random.uniform(0.0, 3.0)
        return False


def test_orders_name_the_batches_of_a_study(tiny):
    study = tiny()
    for batch in grids(study):
        assert Order.of(batch).batch(study) == batch


def test_the_numbers_are_those_of_one_process(ray, tiny, run_study, finished, tmp_path):
    study = tiny()
    states = []
    same(run_study(study, tmp_path, executor=watched(study, states)), load(finished))
    assert states[0].endswith("(2 of 2 places busy)")
    assert states[-1].startswith(("near: ", "far: "))
    versions = load(tmp_path)[0]["versions"]
    assert set(versions) == set(load(finished)[0]["versions"])


def watched(study, states, **options):
    """An executor on Ray whose progress is kept."""
    executor = OnRay(study, Need(), **options)

    def run(batches, on_share, stopping):
        def keep(share, what):
            states.append(what)
            on_share(share, what)

        return executor(batches, keep, stopping)

    return run


def test_killed_tasks_lose_nothing_and_count_nothing_twice(
    ray, tiny, run_study, finished, tmp_path
):
    study, killing, states = tiny(), Killing(3, seed=1), []
    same(
        run_study(study, tmp_path, executor=watched(study, states), stopping=killing),
        load(finished),
    )
    assert killing.killed >= 1  # a fast machine is done before the others
    assert any("processes died" in state for state in states)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(ray, tiny, run_study, finished, tmp_path):
    study, killing, sweeps = tiny(), Killing(20, seed=2), 0
    while killing.killed < 20:
        sweeps += 1
        executor = OnRay(study, Need(), seconds=killing.random.choice([0.5, 5.0]))
        found = run_study(study, tmp_path / str(sweeps), executor=executor, stopping=killing)
        same(found, load(finished))
    assert sweeps < 20


def test_a_stopped_sweep_is_resumed_in_one_process_and_the_other_way_round(
    ray, tiny, run_study, finished, tmp_path
):
    study, folder = tiny(), tmp_path / "begun on ray"

    def kept():
        return len(list((folder / "shards").glob("*.runs.parquet"))) >= 2

    with pytest.raises(InterruptedRunError):
        run_study(study, folder, executor=OnRay(study, Need(), seconds=0.1), stopping=kept)
    begun = load(folder)[0]
    assert Status.INTERRUPTED not in set(begun["status"])
    assert 0 < len(begun) < len(load(finished)[0])
    same(run_study(study, folder), load(finished))
    asked = iter(range(10**9))
    with pytest.raises(InterruptedRunError):
        run_study(study, tmp_path / "here", stopping=lambda: next(asked) >= 7)
    same(run_study(study, tmp_path / "here", executor=OnRay(study, Need())), load(finished))


def test_a_cluster_that_loses_a_node_finishes(tiny, run_study, finished, tmp_path):
    """Three nodes; the one that goes takes a task with it."""
    import_ray().shutdown()
    study, removed = tiny(), []
    with rays.nodes(3) as cluster:
        ray = import_ray()

        def remove():
            lost = cluster.list_all_nodes()[-1]
            if not removed and len(tasks()) == 3:
                removed.append(lost.node_id)
                cluster.remove_node(lost, allow_graceful=False)
            return False

        executor = OnRay(study, Need(), seconds=0.3)
        same(run_study(study, tmp_path, executor=executor, stopping=remove), load(finished))
        assert removed
        deadline = time.monotonic() + 90
        while removed[0] in (alive := [n["NodeID"] for n in ray.nodes() if n["Alive"]]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert len(alive) == 2
