"""The command in this process, and a study small enough to run in a test."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from sweeps import starter

from dopt.methods import AsynchronousSGD, MinibatchSGD
from dopt.problems import GaussianNoise, TridiagonalQuadratic
from dopt.results.read import load
from dopt.results.store import Store
from experiments import cli
from experiments.executors import InProcess
from experiments.runner import Runner
from experiments.study import Entry, Limits, Regime, Study, Variant
from simulators.cluster import Cluster


D, N = 20, 5
SPEEDS = np.sqrt(np.arange(1, N + 1))
MINIBATCH = Entry("Minibatch SGD", (Variant("dense", MinibatchSGD(1.0)),))
ASYNCHRONOUS = Entry("Asynchronous SGD", (Variant("delay-adaptive", AsynchronousSGD(1.0)),))


OF_REGIMES = ("problem", "problem_config", "entries")
PROBLEM = TridiagonalQuadratic(D, mu=1e-3, noise=GaussianNoise(0.05))


def regime(name, share, rounds=40):
    """All of `rounds` rounds; a dense message takes `share` of a gradient, on every worker."""
    return Regime(
        name,
        f"{name}: links",
        Cluster(SPEEDS, SPEEDS * share / D),
        PROBLEM,
        {"name": "tiny", "d": D},
        (MINIBATCH, ASYNCHRONOUS),
        Limits(seconds=rounds * SPEEDS[-1] * (1 + share), gradients=400),
    )


TINY = Study(
    name="tiny",
    regimes=(regime("near", 0.5), regime("far", 4.0)),
    factors=(0.125, 0.25, 0.5),
    tune_seeds=(0, 1),
    report_seeds=(1000, 1001),
    target=0.05,
    timeline_seed=0,
)


@pytest.fixture
def dopt_says(monkeypatch, capsys):
    """Runs `dopt` in this process: its exit code, standard output and standard error."""

    def run(line, *more):
        monkeypatch.setattr(sys, "argv", ["dopt", *line.split(), *map(str, more)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts `dopt` in a process of its own, which ends with the module at the latest."""
    begun = []
    yield starter(tmp_path_factory.mktemp("compiled"), begun)
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def tiny():
    """The study, with changes of its fields, or of those of its regimes or their limits."""

    def make(regimes=TINY.regimes, **changes):
        own = {key: changes.pop(key) for key in list(changes) if key in OF_REGIMES}
        limits = {key: changes.pop(key) for key in list(changes) if key in Limits._fields}
        regimes = (r._replace(limits=r.limits._replace(**limits), **own) for r in regimes)
        return replace(TINY, regimes=tuple(regimes), **changes)

    return make


@pytest.fixture(scope="session")
def run_study():
    """Runs what is missing of a study in a folder, and reads the tables of the folder."""

    def run(study, folder, *, stopping=lambda: False, known=None, executor=None):
        if executor is None:
            executor = InProcess(study)
            executor.computing.known = {} if known is None else known
        with Store(folder) as store:
            Runner(study, store, lambda advance: None, stopping, executor).run()
        return load(folder)

    return run


@pytest.fixture(scope="session")
def finished(tiny, run_study, tmp_path_factory):
    """The folder of the whole study; copy it before writing there."""
    folder = tmp_path_factory.mktemp("finished")
    run_study(tiny(), folder)
    return folder
