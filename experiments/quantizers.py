"""The figure of `dopt plot quantizers`: what correlated quantization saves MARINA, in theory.

The bits that MARINA's theorem promises with independent one-bit quantization over those with
correlated one, each at its best probability of dense rounds. On the left workers and coordinates
grow together: with the published constants the gain tends to 7.29, with exact ones to 12.86, and
where the workers' Hessians differ (L_± > 0) nothing is proven beyond 1. Then the gain at exact
constants for fixed numbers of workers, and for fixed dimensions.

Source: Panferov, Demidovich, Rammal, Richtárik 2024 (arXiv 2401.05518); see
`dopt.theory.communication`.
"""

from pathlib import Path

import matplotlib.style
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from dopt.errors import DoptError
from dopt.theory import gain, gain_limit
from experiments.style import DASH_DOT, DASHED, DOTTED, FULL, PAPER, Dashes


LARGEST = 1e6
"""Of the n and d that are drawn."""

TOGETHER: dict[str, tuple[str, Dashes]] = {
    "exact": ("#D55E00", FULL),
    "published": ("#0072B2", DASHED),
    "different": ("#555555", DASH_DOT),
}
"""Colour and dashes of the constants: exact, published, and those of workers that differ."""

NAMES = {
    "exact": r"$L_\pm = 0$, exact constants",
    "published": r"$L_\pm = 0$, published constants",
    "different": r"$L_\pm > 0$: what is proven",
}

FIXED = {10: "#56B4E9", 100: "#009E73", 1000: "#CC79A7", 10_000: "#000000"}
"""Colours of the sizes that stay."""

INCHES = (7.0, 2.9)


def grid() -> npt.NDArray[np.int64]:
    """Whole numbers from 1 to the largest, even on a logarithmic axis."""
    return np.unique(np.rint(np.geomspace(1, LARGEST, 240)).astype(np.int64))


def table() -> pd.DataFrame:
    """The gain at every n and d of the figure: columns constants, n, d, gain."""
    together = [(constants, k, k) for constants in TOGETHER for k in grid()]
    workers = [("exact", n, d) for n in FIXED for d in grid()]
    dimensions = [("exact", n, d) for d in FIXED for n in grid()]
    triples = list(dict.fromkeys([*together, *workers, *dimensions]))
    rows = pd.DataFrame(triples, columns=["constants", "n", "d"])
    gains = [_gain(c, int(n), int(d)) for c, n, d in rows.itertuples(index=False)]
    return rows.assign(gain=gains)


def _gain(constants: str, n: int, d: int) -> float:
    if constants == "different":
        return gain(n, d, L_pm=1.0)
    return gain(n, d, constants="published" if constants == "published" else "exact")


def draw(folder: Path) -> list[Path]:
    """Writes the figure and its numbers into `folder`.

    Returns:
        The files written: quantizers.png, .pdf and .csv.

    Raises:
        DoptError: the folder cannot be written.
    """
    paths = [folder / f"quantizers.{ending}" for ending in ("png", "pdf", "csv")]
    rows = table()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows.to_csv(paths[2], index=False)
        with matplotlib.style.context(PAPER, after_reset=True):
            shown = figure(rows)
            shown.savefig(paths[0])
            shown.savefig(paths[1], metadata={"CreationDate": None})
    except OSError as error:
        raise DoptError(
            f"cannot write {error.filename or folder}: {error.strerror}; choose another folder "
            "with --out"
        ) from None
    return paths


def figure(rows: pd.DataFrame) -> Figure:
    """The figure of a table that `table` made, in the caller's settings of matplotlib."""
    shown = Figure(figsize=INCHES)
    left, middle, right = shown.subplots(1, 3, sharey=True)
    left.set_ylabel("bits, independent / correlated")
    _together(left, rows[rows["n"] == rows["d"]])
    exact = rows[rows["constants"] == "exact"]
    _fixed(middle, exact, "n", "d", "dimension d")
    _fixed(right, exact, "d", "n", "workers n")
    return shown


def _together(ax: Axes, rows: pd.DataFrame) -> None:
    _axes(ax, "n = d")
    for constants, (color, dashes) in TOGETHER.items():
        mine = rows[rows["constants"] == constants].sort_values("n")
        ax.plot(
            mine["n"], mine["gain"], color=color, linestyle=_line(dashes), label=NAMES[constants]
        )
        if constants != "different":
            level = gain_limit(constants="published" if constants == "published" else "exact")
            ax.axhline(level, color=color, linestyle=_line(DOTTED), linewidth=0.7)
            ax.text(1.5, level, f"{level:.2f}", color=color, va="bottom", fontsize=6.5)
    _legend(ax, 1)


def _fixed(ax: Axes, rows: pd.DataFrame, fixed: str, free: str, label: str) -> None:
    _axes(ax, label)
    for size, color in FIXED.items():
        mine = rows[rows[fixed] == size].drop_duplicates(free).sort_values(free)
        ax.plot(mine[free], mine["gain"], color=color, label=f"{fixed} = {size:,}")
    _legend(ax, 2)


def _legend(ax: Axes, columns: int) -> None:
    """Below the panel."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=columns, handlelength=2.2)


def _axes(ax: Axes, label: str) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log", base=2)
    ax.set_xlim(1, LARGEST)
    ax.set_ylim(0.9, 32)
    ax.set_xlabel(label)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _line(dashes: Dashes) -> str | tuple[int, Dashes]:
    return (0, dashes) if dashes else "-"
