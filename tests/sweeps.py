"""Sweeps of tests: the command in processes of its own, and tables that must be the same."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd


ROOT = Path(__file__).parents[1]
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
MACHINE = ["seconds", "peak_memory", "versions"]
"""Columns that say how a run was computed, not what came out."""


def starter(compiled, begun):
    """A function that starts `dopt` on two methods and keeps the process in `begun`.

    Compiled code is shared between the processes in the folder `compiled`.
    """
    always = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    always["JAX_COMPILATION_CACHE_DIR"] = str(compiled)

    def run(folder, *more):
        dopt = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *ARGUMENTS.split(), "--out", str(folder), *more],
            cwd=ROOT,
            env=os.environ | always,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        begun.append(dopt)
        return dopt

    return run


def same(found, expected):
    """The tables agree bit for bit, up to how long and on what they were computed."""
    for left, right in zip(found, expected, strict=True):
        left, right = (table.drop(columns=MACHINE, errors="ignore") for table in (left, right))
        pd.testing.assert_frame_equal(left, right, check_exact=True)
