"""Writers in processes of their own: killed at any moment, two at once, on a disk that fills."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dopt
from dopt.results.read import load
from dopt.results.store import Store


ROOT = Path(dopt.__file__).parents[1]

WRITER = """
import json, resource, sys
from dopt.errors import DoptError
from dopt.results.store import Store
folder, rows, columns, most, limit = sys.argv[1], *map(json.loads, sys.argv[2:])
if limit:  # a file that grows beyond it is refused, as on a disk that is full
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with Store(folder) as store:
        known = len(store.finished())
        for number in range(known, known + most):
            name = f"{number:020d}"
            traces = columns | {"run_id": [name] * len(columns["run_id"])}
            store.write(name, [rows[0] | {"run_id": name, "data_seed": number}], traces)
            print(name, flush=True)
            if number % 5 == 4:
                store.merge()
except DoptError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def writer(make_runs, make_traces):
    """Starts a process that writes `most` more batches of one run, and merges each fifth time."""

    def start(folder, most, limit=0):
        rows = make_runs(0)
        columns = {n: values.tolist() for n, values in make_traces(rows).items()}
        arguments = [folder, json.dumps(rows), json.dumps(columns), str(most), str(limit)]
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def assert_once(folder, written):
    """Every run that was written is there, once, with its traces; at most one more."""
    runs, traces = load(folder)
    assert runs["run_id"].is_unique
    assert set(written) <= set(runs["run_id"])
    assert (traces.groupby("run_id", observed=True).size() == 3).all()
    assert traces["run_id"].nunique() == len(runs)


@pytest.mark.parametrize(
    "kills", [4, pytest.param(20, marks=pytest.mark.slow)], ids=["few", "twenty"]
)
def test_kills_at_random_moments_lose_nothing_that_was_written(tmp_path, writer, kills):
    written, moments = [], random.Random(0)
    for _ in range(kills):
        process = writer(tmp_path, 10_000)
        written.append(process.stdout.readline().strip())
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        out, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, err
        written += out.split()
        assert_once(tmp_path, written)
    with Store(tmp_path) as store:
        assert set(written) <= store.finished()
        store.merge()
    assert_once(tmp_path, written)


def test_of_two_writers_at_once_one_is_refused_and_nothing_is_lost(tmp_path, writer):
    both = [writer(tmp_path, 100) for _ in range(2)]
    (out, err), (other, refusal) = sorted(
        (process.communicate() for process in both), key=lambda pair: pair[1]
    )
    if not refusal:  # one was through before the other came
        assert not set(out.split()) & set(other.split())
    else:
        assert f"is writing to {tmp_path}" in refusal
        assert other == ""
    assert err == ""
    assert_once(tmp_path, out.split() + other.split())


@pytest.mark.parametrize(("margin", "batches"), [(-100, 0), (10, 4)], ids=["batch", "merge"])
def test_a_disk_that_fills_leaves_earlier_batches_intact_and_is_resumed(
    tmp_path, writer, margin, batches
):
    """It fills while a batch is written, or when only the larger merged file has no room."""
    written, err = writer(tmp_path, 6).communicate()
    assert err == ""
    largest = max(path.stat().st_size for path in (tmp_path / "shards").iterdir())
    full = writer(tmp_path, 6, limit=largest + margin)
    out, refusal = full.communicate()
    assert full.returncode == 1
    assert "are intact: free space" in refusal
    assert len(out.split()) == batches
    assert not list(tmp_path.rglob("*.tmp"))
    assert_once(tmp_path, written.split() + out.split())
    more, err = writer(tmp_path, 2).communicate()
    assert err == ""
    assert_once(tmp_path, (written + out + more).split())
