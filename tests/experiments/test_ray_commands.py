"""`dopt sweep --ray` as a command: killed, stopped, resumed, and two of them in one folder."""

import os
import random
import re
import signal
import time

import psutil
import pytest
from sweeps import same

from dopt.results.read import load


pytestmark = pytest.mark.ray

BATCH = re.compile(r"\[\d+/8\] .+")


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    """The folder of a run in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    out, err = start(folder).communicate(timeout=300)
    assert "Virtual time" in out, err
    return folder


def wait_for(dopt, batch):
    """Reads standard error up to the line of a batch: nothing but batches is there."""
    for line in dopt.stderr:
        assert BATCH.match(line), line
        if line.startswith(f"[{batch}/"):
            return
    raise AssertionError(f"dopt ended before {batch}: {dopt.wait()}")


def stopped(dopt):
    """Ends by itself with a sentence, and leaves no process behind."""
    started = psutil.Process(dopt.pid).children(recursive=True)
    assert started
    dopt.send_signal(signal.SIGINT)
    out, err = dopt.communicate(timeout=60)
    assert (dopt.returncode, out) == (130, "")
    *lines, last = err.splitlines()
    assert last == "dopt: stopped on request; the same command goes on from here"
    assert all(BATCH.match(line) for line in lines), err
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive


def test_killed_then_stopped_then_finished_elsewhere(start, undisturbed, tmp_path):
    """The driver is killed, the next one stopped; the rest is done in one process."""
    dopt = start(tmp_path, "--ray")
    wait_for(dopt, 3)
    dopt.kill()
    dopt.communicate()
    assert 0 < len(list((tmp_path / "shards").glob("*.runs.parquet"))) < 8
    dopt = start(tmp_path, "--ray")
    wait_for(dopt, 4)
    # So that it is not finished before the other has started.
    dopt.send_signal(signal.SIGSTOP)
    second = start(tmp_path, "--ray")
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (1, "")
    assert f"process {dopt.pid} is writing to {tmp_path}" in err
    assert len(err.splitlines()) == 1
    dopt.send_signal(signal.SIGCONT)
    stopped(dopt)
    dopt = start(tmp_path)
    out, err = dopt.communicate(timeout=300)
    assert dopt.returncode == 0, err
    same(load(tmp_path), load(undisturbed))


def test_a_whole_sweep_says_nothing_but_its_own(start, undisturbed, tmp_path):
    dopt = start(tmp_path, "--ray", "--task-threads", "2")
    out, err = dopt.communicate(timeout=300)
    assert dopt.returncode == 0
    assert all(BATCH.match(line) for line in err.splitlines()), err
    assert out.startswith("Virtual time")
    expected = (undisturbed / "summary.csv").read_bytes()
    if len(os.sched_getaffinity(0)) == 2:  # else sums of products may round otherwise
        same(load(tmp_path), load(undisturbed))
        assert (tmp_path / "summary.csv").read_bytes() == expected


def test_what_cannot_be_is_refused_in_a_sentence(start, tmp_path):
    dopt = start(tmp_path, "--ray", "127.0.0.1:1")
    out, err = dopt.communicate(timeout=60)
    assert (dopt.returncode, out) == (2, "")
    assert err.startswith("dopt: no Ray cluster answers at 127.0.0.1:1 (")
    assert len(err.splitlines()) == 1
    dopt = start(tmp_path, "--ray", "--task-gpus", "1")
    out, err = dopt.communicate(timeout=60)
    assert (dopt.returncode, out) == (2, "")
    assert "no node has 1 processors and 1 GPUs for a task; give smaller" in err


@pytest.mark.slow
def test_twenty_drivers_killed_at_random_moments(start, undisturbed, tmp_path):
    chance = random.Random(8)
    kept = 0
    for _ in range(20):
        dopt = start(tmp_path, "--ray")
        time.sleep(chance.uniform(4.0, 16.0))
        dopt.kill()
        dopt.communicate()
        shards = len(list((tmp_path / "shards").glob("*.runs.parquet")))
        assert shards >= kept
        kept = shards
    out, err = start(tmp_path, "--ray").communicate(timeout=300)
    assert "Virtual time" in out, err
    same(load(tmp_path), load(undisturbed))
