"""Signals and kills: `dopt` in processes of its own, stopped anywhere, goes on to the same end."""

import json
import signal
import time

import pandas as pd
import pytest
from sweeps import same

from dopt.results.read import load


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


def same_folders(folder, expected):
    same(load(folder), load(expected))
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
    same_folders(folder, undisturbed)


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
