"""The command `dopt measure-cluster`: its files, its table, and what it refuses."""

import os
import re
import shlex
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import rays

from dopt.errors import InterruptedRunError
from experiments import cli, measured
from experiments.settings import STUDIES
from simulators import measuring
from simulators.cluster import Cluster
from simulators.cluster_file import read_cluster
from simulators.link_times import Line
from simulators.measuring import Measured


LINE = Line(1e-3, 2e-9, 1.9e-9, 2.1e-9, 0.25, bound=False)
FLAT = Line(1e-3, 5e-10, -1e-9, 5e-10, 0.5, bound=True)
SMOKE = (
    "measure-cluster heterogeneity --preset smoke --problem quadratic --dimension 20 --target 0.05"
)


def samples(workers):
    rows = [
        (worker.split()[0], worker, what, 0, 10, seconds)
        for worker in workers
        for what in ("gradient", "down", "up")
        for seconds in (1e-3, 2e-3, 3e-3, 4e-3, 100.0)
    ]
    columns = ["node", "worker", "what", "bytes", "repetitions", "seconds"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def as_if(monkeypatch):
    """No Ray: what a measurement is said to have found, and how it was asked."""
    asked = []

    def pretend(lost=()):
        workers = ("10.0.0.2 0", "10.0.0.3 0")
        found = Measured(
            Cluster([3e-3, 3e-3], [2e-9, 5e-10], 2e-9, 1e-3, "bit"),
            workers,
            ({"down": LINE, "up": LINE}, {"down": LINE, "up": FLAT}),
            samples(workers),
            tuple(lost),
        )

        def measure(problem, **options):
            asked.append((problem, options))
            options["on_state"](measuring.GRADIENTS, 0.5)
            return found

        class Joined:
            own = True

            def __enter__(self):
                return self

            def __exit__(self, *error):
                return None

        monkeypatch.setattr(measured, "session", lambda address: Joined())
        monkeypatch.setattr(measured.measuring, "measure", measure)
        return found

    pretend.asked = asked
    return pretend


def test_what_was_found_is_written_and_told(as_if, dopt_says, tmp_path):
    found = as_if(lost=["worker 10.0.0.4 0 was lost: its node has died"])
    path = tmp_path / "mine.csv"
    code, out, err = dopt_says(
        f"{SMOKE} --workers-per-node 3 --seconds 2 --worker-gpus 0.5 --out", path
    )
    assert code == 0
    ((problem, options),) = as_if.asked
    assert problem.d == 20
    assert (options["workers_per_node"], options["seconds"], options["gpus"]) == (3, 2.0, 0.5)
    cluster = read_cluster(path)
    for name in ("h", "uplink", "downlink", "latency"):
        np.testing.assert_array_equal(getattr(cluster, name), getattr(found.cluster, name))
    assert cluster.unit == "bit"
    text = path.read_text()
    assert '"10.0.0.2 0",0.003,2e-9,2e-9,0.001' in text
    assert "# problem: name tridiagonal-quadratic, d 20" in text
    assert re.search(r"^# driver: .*jax \d+\.\d+", text, re.M)
    assert re.search(r"^# measured 20\d\d-\d\d-\d\d", text, re.M)
    assert "# left out: worker 10.0.0.4 0 was lost" in text
    assert "# 10.0.0.2 0: h quartiles 0.002 to 0.004 s;" in text
    assert "uplink at most, 95 % interval -1e-09 to 5e-10 s/bit" in text
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "mine.parquet"), found.samples)
    assert "10.0.0.2 0 │ 3 (2, 4)" in out
    assert "16 (15.2, 16.8)" in out  # ms of a megabyte
    assert "at most 4 (-8, 4)" in out
    assert "10.0.0.3 0, up: larger messages took no longer" in out
    assert "left out: worker 10.0.0.4 0 was lost" in err
    assert "[2/3] gradients" in err


def test_the_next_command_reads_the_file(as_if, dopt_says, tmp_path):
    as_if()
    _, out, _ = dopt_says(f"{SMOKE} --out", tmp_path / "mine.csv")
    (line,) = re.findall(r"dopt (sweep .*)", out)
    settings = cli.parse(shlex.split(line)).study.settings
    assert settings.cluster == str(tmp_path / "mine.csv")
    study = measured.study_of(replace(settings, problem="quadratic", target=0.05), None)
    assert study.regimes[0].cluster.n == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.parquet", "give one that ends in .csv"),
        ("", "is a folder"),
        ("absent/mine.csv", "there is no folder"),
    ],
)
def test_names_that_cannot_be_written_are_refused_first(name, words, as_if, dopt_says, tmp_path):
    as_if()
    code, _, err = dopt_says(f"{SMOKE} --out", tmp_path / name)
    assert (code, words in err) == (2, True)
    assert not as_if.asked


@pytest.mark.ray
def test_this_machine_by_the_command(dopt_says, tmp_path, monkeypatch):
    """On a Ray of its own that ends with it."""
    monkeypatch.setattr("simulators.link_times.SIZES", (0, 2**10, 2**18))
    path = tmp_path / "cluster.csv"
    code, out, _ = dopt_says(f"{SMOKE} --seconds 0.5 --workers-per-node 2 --out", path)
    assert code == 0
    assert out.count("127.0.0.1") == 2
    cluster = read_cluster(path)
    assert (cluster.n, cluster.unit) == (2, "bit")
    assert (cluster.h > 1e-7).all()
    assert (cluster.h < 1).all()
    assert (cluster.latency > 1e-5).all()
    assert not rays.import_ray().is_initialized()


def test_a_stopped_measurement_writes_nothing(as_if, dopt_says, tmp_path, monkeypatch):
    as_if()

    def measure(problem, *, stopping, **options):
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping()
        raise InterruptedRunError("stopped on request; nothing was written")

    monkeypatch.setattr(measured.measuring, "measure", measure)
    code, _, err = dopt_says(f"{SMOKE} --out", tmp_path / "mine.csv")
    assert (code, "stopped on request" in err) == (130, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_measured(name):
    given = cli.parse(["measure-cluster", name, "--preset", "smoke"]).study
    assert type(given.settings) is STUDIES[name].settings
    assert str(given.out) == "cluster.csv"
