"""The best grids for a standard normal variable: exact for p = 1, from files for p = 2, 3, 4."""

import functools
import re
import zipfile
from pathlib import Path

import numpy as np

from compressors.grids.grid import Grid
from compressors.grids.scalar import lloyd_max
from compressors.grids.vector import VectorGrid


FOLDER = Path(__file__).parent / "data"
UNREADABLE = (KeyError, ValueError, EOFError, zipfile.BadZipFile)
"""What numpy raises for a file that is cut, or no archive, or lacks an array."""
NUMBERS = ("mse", "mse_error", "residual", "moment_gap")


def gaussian_grid(p: int, n: int) -> Grid:
    """The grid of n points of R^p of least error that is known here.

    `lloyd_max` for p = 1, for every n; for p = 2, 3, 4 what `shipped_sizes` lists.

    Raises:
        ValueError: there is none.
    """
    if p == 1:
        return lloyd_max(n)
    if n not in shipped_sizes(p):
        listed = ", ".join(map(str, shipped_sizes(p))) or "none"
        raise ValueError(
            f"no grid of p = {p} with n = {n} points comes with this package (p = {p}: {listed}): "
            f"take one of these, or compute it: python -m compressors.grids.compute --p {p} --n "
            f"{n} --out FOLDER, then load_grid"
        )
    return _shipped(p, n).grid


def shipped_sizes(p: int) -> tuple[int, ...]:
    """The n of the grids of p > 1 that come with this package, in rising order."""
    names = (re.fullmatch(rf"gaussian_{p}_(\d+)\.npz", path.name) for path in FOLDER.iterdir())
    return tuple(sorted(int(name[1]) for name in names if name))


def load_grid(path: Path | str) -> VectorGrid:
    """A grid that `compressors.grids.compute` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    try:
        # numpy leaves a file open that it cannot read.
        with Path(path).open("rb") as raw, np.load(raw) as file:
            points = file["points"]
            numbers = {name: float(file[name]) for name in NUMBERS}
            samples = int(file["samples"])
    except UNREADABLE as error:
        raise ValueError(
            f"{path} is no file of a grid ({error}): compute it anew by python -m "
            "compressors.grids.compute"
        ) from error
    grid = Grid(points, numbers["mse"], numbers["mse_error"])
    return VectorGrid(grid, numbers["residual"], numbers["moment_gap"], samples)


def contents(trained: VectorGrid) -> dict[str, np.ndarray]:
    """The arrays of the file that `load_grid` reads."""
    numbers = (trained.grid.mse, trained.grid.mse_error, trained.residual, trained.moment_gap)
    arrays = {name: np.asarray(number) for name, number in zip(NUMBERS, numbers, strict=True)}
    return {"points": trained.grid.points, "samples": np.asarray(trained.samples), **arrays}


@functools.cache
def _shipped(p: int, n: int) -> VectorGrid:
    return load_grid(FOLDER / f"gaussian_{p}_{n}.npz")
