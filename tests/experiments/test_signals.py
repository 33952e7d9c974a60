"""Signals and kills: `dopt` in processes of its own, stopped anywhere, goes on to the same end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from dopt.results.read import load


ROOT = Path(__file__).parents[2]
ARGUMENTS = (
    "sweep heterogeneity --problem quadratic --dimension 20 --workers 5 --noise 0.5 --target 1e-9 "
    "--step-sizes -3 -1 --rounds 4000 --gradients 30000 --noise-ratios 10 --kept 0.1 "
    "--tune-seeds 1 --seeds 2 --regimes high low"
)
SCRIPT = """
import sys
from experiments import cli, commands, heterogeneity
every = heterogeneity.entries_of
heterogeneity.entries_of = lambda *given: every(*given)[:3:2]
commands.draw = lambda folder: []
cli.main()
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts `dopt` on two methods; compiled code is shared between the processes."""
    always = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled"))}
    begun = []

    def run(folder):
        dopt = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *ARGUMENTS.split(), "--out", str(folder)],
            cwd=ROOT, env=os.environ | always | compiled, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        begun.append(dopt)
        return dopt

    yield run
    for process in begun:
        process.kill()
        process.communicate()


def wait_for(dopt, line):
    """Reads standard error up to the batch whose line holds these words."""
    for text in dopt.stderr:
        if line in text:
            return
    raise AssertionError(f"dopt ended before {line}: {dopt.wait()}")


def killed(dopt):
    dopt.send_signal(signal.SIGKILL)
    assert dopt.wait(60) == -signal.SIGKILL


def stopped(dopt, number):
    """Ends within 2 s, and as much as a busy machine may add, by itself and with a sentence."""
    dopt.send_signal(number)
    begun = time.monotonic()
    out, err = dopt.communicate(timeout=60)
    assert time.monotonic() - begun < 10
    assert (dopt.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "dopt: stopped on request; the same command goes on from here"
    assert "Traceback" not in err


def whole(dopt):
    out, err = dopt.communicate(timeout=200)
    assert dopt.returncode == 0, err
    assert "Virtual time" in out


def same(folder, expected):
    machine = ["seconds", "peak_memory", "versions"]
    for left, right in zip(load(folder), load(expected), strict=True):
        left, right = (table.drop(columns=machine, errors="ignore") for table in (left, right))
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    assert (folder / "summary.csv").read_bytes() == (expected / "summary.csv").read_bytes()


TWICE = [(2, 0.3, signal.SIGKILL), (5, 0.1, signal.SIGINT)]
OFTEN = [
    (1, 0.3, signal.SIGKILL),
    (2, 0.1, signal.SIGINT),
    (4, 0.0, signal.SIGKILL),
    (5, 0.05, signal.SIGTERM),
    (6, 0.01, signal.SIGKILL),
    (7, 0.02, signal.SIGKILL),
]


@pytest.mark.parametrize("stops", [TWICE, pytest.param(OFTEN, marks=pytest.mark.slow)])
def test_a_study_killed_and_stopped_comes_to_the_same_end(stops, start, tmp_path):
    """In the batch of each number, some seconds after its beginning."""
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "disturbed"
    whole(start(undisturbed))
    kept = 0
    for batch, seconds, number in stops:
        dopt = start(folder)
        wait_for(dopt, f"[{batch}/")
        time.sleep(seconds)
        if number == signal.SIGKILL:
            killed(dopt)
            continue
        stopped(dopt, number)
        assert not list(folder.rglob("*.tmp"))
        tables = [pd.read_parquet(folder / name) for name in ("runs.parquet", "traces.parquet")]
        assert len(tables[0]) > kept
        kept = len(tables[0])
    whole(start(folder))
    same(folder, undisturbed)


def test_a_second_signal_quits_at_once(start, tmp_path):
    dopt = start(tmp_path)
    wait_for(dopt, "[3/")
    begun = time.monotonic()
    while dopt.poll() is None:
        dopt.send_signal(signal.SIGINT)
        time.sleep(0.002)
        assert time.monotonic() - begun < 10
    assert dopt.returncode == 130
    assert dopt.stderr.read() == ""
    assert json.loads((tmp_path / "meta.json").read_text())
