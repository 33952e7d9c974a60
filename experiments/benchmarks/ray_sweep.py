"""What a sweep on Ray costs and saves, beside the same sweep in one process.

Both compute the same independent batches with one thread a process, in turns, each time in fresh
processes. Ray has two places. Its start, which a study pays once, is told apart: until the first
task may run (Ray itself, then processes that import JAX). The overhead is what the places were not
computing, as a share of what they were: Ray's messages, and waiting for the last task.

    python -m experiments.benchmarks.ray_sweep [--pairs 3] [--batches 24] [--steps 40000]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import Any

import numpy as np

from dopt.methods import AsynchronousSGD
from dopt.problems import GaussianNoise, TridiagonalQuadratic
from dopt.results.read import load
from dopt.results.store import Store
from experiments.benchmarks.machine import machine
from experiments.executors import Executor, InProcess, OnRay
from experiments.runner import Runner
from experiments.study import Entry, Limits, Regime, Study, Variant
from simulators.cluster import Cluster
from simulators.ray_session import session
from simulators.ray_tasks import Need, State, on_ray


PLACES = 2
D, N, SEEDS = 1000, 20, 4
NEVER = 1e-30
"""A target that no run reaches: all do all of their steps."""


def study_of(batches: int, steps: int) -> Study:
    """Batches with different schedules and one program: 4 runs of asynchronous SGD in each."""
    problem = TridiagonalQuadratic(D, mu=1e-3, noise=GaussianNoise(0.1))
    method = Variant("delay-adaptive", AsynchronousSGD(1.0))
    rng = np.random.default_rng(0)

    def regime(index: int) -> Regime:
        cluster = Cluster(rng.uniform(1.0, 10.0, N), 0.0)
        entries = (Entry("Asynchronous SGD", (method,)),)
        config = {"name": "tridiagonal", "d": D}
        limits = Limits(steps=steps)
        return Regime(f"{index}", f"{index}", cluster, problem, config, entries, limits)

    return Study(
        name="ray-sweep",
        regimes=tuple(regime(index) for index in range(batches)),
        factors=(0.5,),
        tune_seeds=(0,),
        report_seeds=tuple(range(1000, 1000 + SEEDS)),
        target=NEVER,
        timeline_seed=0,
    )


def timed(study: Study, executor: Executor) -> dict[str, float]:
    """Seconds of a whole sweep, and of its batches where they were computed."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        with Store(folder) as store:
            Runner(study, store, lambda advance: None, lambda: False, executor).run()
        wall = time.monotonic() - begun
        return {"wall": wall, "computed": float(load(folder)[0]["seconds"].sum())}


def nothing(context: Any) -> Any:
    """For tasks that only start a process."""
    return partial(time.sleep)


def on_two_places(study: Study) -> dict[str, float]:
    """As `timed`, on a Ray of our own, with its start."""
    begun = time.monotonic()
    with session(cpus=PLACES):
        need, states = Need(threads=1), list[State]()
        quiet: dict[str, Any] = {"stopping": lambda: False, "on_state": states.append}
        list(on_ray(nothing, None, [1.0] * PLACES, need=need, **quiet))
        start = time.monotonic() - begun
        return timed(study, OnRay(study, need)) | {"start": start}


def child(how: str, batches: int, steps: int) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "experiments.benchmarks.ray_sweep", "--child", how]
    command += ["--batches", str(batches), "--steps", str(steps)]
    done = subprocess.run(
        command, env=os.environ | {"NPROC": "1"}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures pairs and prints them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--child", choices=("one", "ray"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        study = study_of(given.batches, given.steps)
        found = timed(study, InProcess(study)) if given.child == "one" else on_two_places(study)
        sys.stdout.write(json.dumps(found) + "\n")
        return
    about = ", ".join(f"{name} {value}" for name, value in machine().items())
    lines = [about, f"{given.batches} batches of {SEEDS} runs, {given.steps} steps, d = {D}"]
    lines.append("one process [s]  on 2 places [s]  ratio  start of Ray [s]  overhead")
    for _ in range(given.pairs):
        one, ray = (child(how, given.batches, given.steps) for how in ("one", "ray"))
        overhead = (PLACES * ray["wall"] - ray["computed"]) / ray["computed"]
        lines.append(
            f"{one['wall']:15.1f}  {ray['wall']:15.1f}  {ray['wall'] / one['wall']:5.2f}  "
            f"{ray['start']:16.1f}  {overhead:8.1%}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
