"""Computes grids of p = 2, 3, 4 and writes them to files: python -m compressors.grids.compute.

Without arguments it computes those that come with the package (`SIZES`), about three minutes of one
core; with --p and --n, one. A file that is there already is left alone, so that an interrupted call
goes on when it is repeated; the state of a training is written every few seconds beside the file,
and removed at the end. The points depend on p, n and the versions of numpy and scipy alone.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compressors.grids.gaussian import FOLDER, UNREADABLE, contents
from compressors.grids.vector import Training, VectorGrid, advance, begin, measure, plan


SIZES = (
    *((2, n) for n in (16, 64, 84, 88, 256, 361)),
    *((3, n) for n in (64, 512, 833, 4096)),
    *((4, n) for n in (256, 4096, 7131)),
)
"""2, 3 and 4 bits; 88 and 833, the largest n below 3.25 bits with a scale of 16 bits for 1024
numbers, and 361 below 4.25; (2, 84) and (4, 7131), of which five codes fill 32 and 64 bits: 3.2
bits a number."""
SAVED_EVERY = 10.0
"""Seconds between two writings of the state."""


def compute(p: int, n: int, folder: Path) -> VectorGrid | None:
    """Trains a grid, measures it and writes it; None where its file is there already."""
    target = folder / f"gaussian_{p}_{n}.npz"
    state = target.with_suffix(".state.npz")
    if target.exists():
        return None
    training, saved = _resumed(state, p, n), time.monotonic()
    while training.round < plan(p, n).total:
        training = advance(training)
        if time.monotonic() - saved > SAVED_EVERY:
            _write(state, vars(training))
            saved = time.monotonic()
    trained = measure(training.points)
    _write(target, contents(trained))
    state.unlink(missing_ok=True)
    return trained


def _resumed(state: Path, p: int, n: int) -> Training:
    """The training whose state is in the file; a new one where there is none that can be read."""
    try:
        with state.open("rb") as raw, np.load(raw) as file:
            done, error = int(file["round"]), float(file["best_error"])
            return Training(done, file["points"], file["best"], error)
    except (FileNotFoundError, *UNREADABLE):
        return begin(p, n)


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    """A file that is there whole or not at all."""
    part = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(part, **arrays)
    os.replace(part, path)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--p", type=int, help="numbers of a point: 2, 3 or 4")
    parser.add_argument("--n", type=int, help="points")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the files")
    given = parser.parse_args(arguments)
    if (given.p is None) != (given.n is None):
        parser.error("--p and --n belong together: give both or neither")
    sizes = SIZES if given.p is None else ((given.p, given.n),)
    try:
        for p, n in sizes:
            plan(p, n)
    except ValueError as error:
        parser.error(str(error))
    given.out.mkdir(parents=True, exist_ok=True)
    for p, n in sizes:
        start = time.monotonic()
        trained = compute(p, n, given.out)
        sys.stdout.write(_line(p, n, trained, time.monotonic() - start))
        sys.stdout.flush()


def _line(p: int, n: int, trained: VectorGrid | None, seconds: float) -> str:
    if trained is None:
        return f"p = {p}  n = {n:5d}  is there already\n"
    grid = trained.grid
    return (
        f"p = {p}  n = {n:5d}  mse {grid.mse:.7f} ± {grid.mse_error:.7f}  residual "
        f"{trained.residual:.1e}  moment gap {trained.moment_gap:.1e}  {seconds:.0f} s\n"
    )


if __name__ == "__main__":
    main()
