"""The figure of `dopt plot compressors`: squared error against bits a coordinate.

A panel a kind of vectors; a colour a family, and a marker a class of promise. The grey line is
4^(−bits), the least error for Gaussian vectors (Shannon): others can be sent for less.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from dopt.errors import DoptError
from experiments.compressor_errors import measure
from experiments.style import DASH_DOT, DASHED, DOTTED, FULL, LONG, PAPER, Dashes


MARKERS = {"unbiased": "o", "contractive": "^", "unbiased as d → ∞": "D"}
"""A class of promise."""

LOOKS: dict[str, tuple[str, Dashes]] = {
    "RandK, Bernoulli, PermK": ("#0072B2", FULL),
    "CORE": ("#332288", DASHED),
    "Top-1 sampling": ("#88CCEE", FULL),
    "multilevel TopK": ("#117733", FULL),
    "RandK of natural compression": ("#56B4E9", DASHED),
    "random dithering, p = 2": ("#E69F00", FULL),
    "random dithering, p = ∞": ("#D55E00", FULL),
    "natural dithering": ("#CC79A7", DASHED),
    "natural compression": ("#882255", FULL),
    "correlated quantization": ("#999933", LONG),
    "correlated quantization, rotated": ("#009E73", LONG),
    "EDEN": ("#000000", FULL),
    "TopK": ("#0072B2", DASH_DOT),
    "TopK of natural compression": ("#56B4E9", DASH_DOT),
    "scaled RandK": ("#888888", DASHED),
    "scaled sign": ("#AA4499", FULL),
    "RankR": ("#117733", DOTTED),
}
"""Colour and dashes of a family, in the order of the legend."""

SHANNON: dict[str, Any] = {"color": "#999999", "linewidth": 2.2, "zorder": 1.0}

BITS, ERRORS = (6e-3, 32.0), (1e-5, 1e4)
"""What the panels show."""

INCHES = (7.0, 7.2)


def draw(folder: Path, data: str | None, say: Callable[[str], None]) -> list[Path]:
    """Measures, and writes the figure and the table into `folder`.

    Returns:
        The files written: compressors.png and .pdf, compressor_errors.parquet and .csv.

    Raises:
        DataError: the folder of real data is not there, or broken.
        DoptError: the folder cannot be written.
    """
    names = ("compressors.png", "compressors.pdf", "compressor_errors.parquet")
    paths = [folder / name for name in (*names, "compressor_errors.csv")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table = measure(data, say)
        table.to_parquet(paths[2], index=False)
        table.to_csv(paths[3], index=False)
        with matplotlib.style.context(PAPER, after_reset=True):
            shown = figure(table)
            shown.savefig(paths[0])
            shown.savefig(paths[1], metadata={"CreationDate": None})
    except OSError as error:
        raise DoptError(
            f"cannot write {error.filename or folder}: {error.strerror}; choose another folder "
            "with --out"
        ) from None
    return paths


def figure(table: pd.DataFrame) -> Figure:
    """The figure of a table that `measure` made, in the caller's settings of matplotlib."""
    kinds = list(dict.fromkeys(table["vectors"]))
    shown = Figure(figsize=INCHES)
    axes = shown.subplots(-(-len(kinds) // 2), 2, sharex=True, sharey=True, squeeze=False)
    for ax, kind in zip(axes.flat, kinds, strict=False):
        rows = table[table["vectors"] == kind]
        ax.set_title(f"{kind}, d = {rows['d'].iloc[0]}")
        _panel(ax, rows)
    for ax in axes[-1]:
        ax.set_xlabel("bits per coordinate")
    for ax in axes[:, 0]:
        ax.set_ylabel(r"$\mathrm{E}\,\Vert C(x) - x\Vert^2\,/\,\Vert x\Vert^2$")
    shown.legend(handles=_handles(table), ncols=4, loc="outside lower center")
    return shown


def _panel(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(BITS)
    ax.set_ylim(ERRORS)
    ax.yaxis.set_major_locator(LogLocator(numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda bits, _: f"{bits:g}"))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
    bits = [BITS[0] * 1.01**i for i in range(1000)]
    ax.plot(bits, [4.0**-b for b in bits], **SHANNON)
    drawn = set()
    for _, curve in rows.groupby(["family", "operator"], sort=False):
        family, promise = curve["family"].iloc[0], curve["promise"].iloc[0]
        line = _line(family) if family not in drawn else {"linestyle": ""}
        drawn.add(family)
        curve = curve.sort_values("bits")
        ax.plot(curve["bits"], curve["error"], **line, **_mark(family, promise))


def _line(family: str) -> dict[str, Any]:
    color, dashes = LOOKS[family]
    return {"color": color, "linestyle": (0, dashes) if dashes else "-", "linewidth": 0.9}


def _mark(family: str | None, promise: str) -> dict[str, Any]:
    return {
        "marker": MARKERS[promise],
        "markersize": 3.2 if MARKERS[promise] == "D" else 3.8,  # of about the same area
        "markerfacecolor": LOOKS[family][0] if family else "#555555",
        "markeredgecolor": "white",
        "markeredgewidth": 0.3,
    }


def _handles(table: pd.DataFrame) -> list[Line2D]:
    """Two columns of unbiased families, one of others, one of markers and the bound."""
    promises = dict(zip(table["family"][::-1], table["promise"][::-1], strict=True))
    groups: list[list[Line2D]] = [[], [], []]
    for family in LOOKS:
        if promise := promises.get(family):
            look = _line(family) | _mark(family, promise)
            groups[promise != "unbiased"].append(Line2D([], [], label=family, **look))
    for promise in MARKERS:
        groups[2].append(Line2D([], [], label=promise, linestyle="", **_mark(None, promise)))
    groups[2].append(Line2D([], [], label=r"$4^{-\mathrm{bits}}$ (Shannon)", **SHANNON))
    rows = max(-(-len(groups[0]) // 2), len(groups[1]), len(groups[2]))
    blank = Line2D([], [], linestyle="", label=" ")
    columns = zip((2, 1, 1), groups, strict=True)
    return [handle for n, own in columns for handle in own + [blank] * (n * rows - len(own))]
