"""The figures of Kimad's rounds: what the links gave, what was made of it, and which were late.

They show the table `rounds.parquet` of a results folder. A column of panels is a regime; of more
than four, the first three are shown, in the order of the table, whatever they hold.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from dopt.errors import DataError
from experiments.kimad import KIMAD
from experiments.kimad_panels import (
    LETTERS,
    NUMBER,
    handles,
    panels,
    partly,
    read,
    set_ticks,
    shown_regimes,
    titled,
    write,
)
from experiments.style import PANEL_INCHES, TARGET, legend_order, style


CHANGES, ROUNDS = 60, 2000
"""Links are shown until Kimad's ratio has changed so often, or for so many rounds: of more, no step
could be told from the next."""

SPAN = 20.0
"""A bandwidth that varies more than so many times has a logarithmic axis."""

DEEPEST = 1e-5
"""An outage is drawn as this share of the greatest bandwidth, if it was deeper."""

CORNERS = 2000
"""A distribution function is drawn by so many of its points at most."""

LATE = 1 + 1e-9
"""A round is late that takes more than this share of its time."""


def draw_bandwidth(folder: str | os.PathLike[str]) -> list[Path]:
    """Draws `bandwidth_and_ratio`: worker 0's uplink, and the ratio that each method chose.

    The bandwidth is the mean over each message of Kimad, as long as it was on the way; between
    messages a line joins them. The ratio is the share of a whole message that was sent: a step a
    round of a method that looks at time, a level of one with a fixed ratio. The probe of the first
    round, the least message there is, may lie below the panel.

    Returns:
        The files written.

    Raises:
        DataError: there is no table of rounds, or an empty or damaged one.
        DoptError: the folder cannot be written.
    """
    folder = Path(folder)
    return write(lambda: bandwidth_figure(folder), folder / "bandwidth_and_ratio")


def draw_rounds(folder: str | os.PathLike[str]) -> list[Path]:
    """Draws `round_seconds`: the distribution over rounds of their duration in units of their time.

    A round lasts until the last message has arrived. A method that does not look at time is
    measured by Kimad's. The legend has the share of rounds that are late, panel by panel.

    Returns:
        The files written.

    Raises:
        DataError: there is no table of rounds, or an empty or damaged one, or no method in it that
            looks at time.
        DoptError: the folder cannot be written.
    """
    folder = Path(folder)
    return write(lambda: rounds_figure(folder), folder / "round_seconds")


def bandwidth_figure(folder: Path) -> Figure:
    """The figure of `draw_bandwidth`, in the caller's settings of matplotlib."""
    path = folder / "rounds.parquet"
    regimes, count = shown_regimes(path)
    columns = ["method", "round", "start", "computed", "arrived", "ratio", "bandwidth", "seconds"]
    figure = panels(len(regimes), 3.7)
    grid = figure.subplots(2, len(regimes), sharex="col", squeeze=False)
    found: set[str] = set()
    least = 0.5
    for column, regime in enumerate(regimes):
        rows = read(path, columns, [("regime", "==", regime), ("worker", "==", 0)])
        methods = {str(name): own.sort_values("round") for name, own in rows.groupby("method")}
        found |= methods.keys()
        least = min(least, rows["ratio"][(rows["ratio"] > 0) & (rows["round"] > 0)].min())
        upper, lower = grid[:, column]
        if column:
            lower.sharey(grid[1, 0])
            lower.tick_params(labelleft=False)
        upper.set_title(titled(regime, 3 * LETTERS // min(3, len(regimes))))
        watched = _begin(methods.get(KIMAD, methods[min(methods, key=legend_order)]))
        _draw_links(upper, watched)
        _draw_ratios(lower, methods)
        begin, end = watched["start"].iloc[0], watched["arrived"].iloc[-1]
        upper.set_xlim(begin - 0.01 * (end - begin), end)
        lower.set_xlabel("virtual time [s]")
    grid[0, 0].set_ylabel("bandwidth [bit/s]")
    grid[1, 0].set_ylabel("ratio sent")
    grid[1, 0].set_yscale("log")
    low, high = least / 1.3, 1.3
    grid[1, 0].set_ylim(low, high)
    set_ticks(grid[1, 0].yaxis, low, high, NUMBER)
    notes = ("uplink of worker 0, from the first round on", partly(len(regimes), count))
    figure.suptitle("; ".join(filter(None, notes)), fontsize=7.5)
    figure.legend(handles=handles(found, {}), ncols=3, loc="outside lower center")
    return figure


def _begin(rows: pd.DataFrame) -> pd.DataFrame:
    """The first rounds, as long as their steps can be told apart."""
    changes = np.cumsum(np.diff(rows["ratio"], prepend=rows["ratio"].iloc[0]) != 0)
    return rows[changes <= CHANGES].iloc[:ROUNDS]


def _draw_links(ax: Axes, rows: pd.DataFrame) -> None:
    """The mean over each message, from its first bit to its last."""
    rows = rows[np.isfinite(rows["bandwidth"])]
    level = rows["bandwidth"].to_numpy(float)
    greatest = level.max(initial=0.0)
    formatter = EngFormatter(sep=" ")
    if greatest > SPAN * level.min(initial=greatest):
        level = np.maximum(level, DEEPEST * greatest)
        ax.set_yscale("log")
        low, high = level.min() / 1.3, 1.3 * greatest
        set_ticks(ax.yaxis, low, high, formatter)
    else:
        low, high = 0.0, 1.08 * greatest or 1.0
        ax.yaxis.set_major_formatter(formatter)
    ax.set_ylim(low, high)
    time = rows[["computed", "arrived"]].to_numpy(float).ravel()
    ax.plot(time, np.repeat(level, 2), color="#555555", linewidth=0.9)


def _draw_ratios(ax: Axes, methods: dict[str, pd.DataFrame]) -> None:
    """Levels of fixed ratios, steps of the others."""
    for method in sorted(methods, key=legend_order):
        rows, look = methods[method], style(method).line | {"linewidth": 0.9, "label": method}
        if rows["seconds"].isna().all():
            ax.axhline(rows["ratio"].median(), **look)
            continue
        rows = rows.iloc[: 2 * ROUNDS]
        time = np.append(rows["start"], rows["arrived"].iloc[-1])
        ratio = np.append(rows["ratio"], rows["ratio"].iloc[-1])
        ax.plot(time, ratio, drawstyle="steps-post", **look)


def rounds_figure(folder: Path) -> Figure:
    """The figure of `draw_rounds`, in the caller's settings of matplotlib."""
    path = folder / "rounds.parquet"
    regimes, count = shown_regimes(path)
    figure = panels(len(regimes), PANEL_INCHES[1])
    (axes,) = figure.subplots(1, len(regimes), sharey=True, squeeze=False)
    late: dict[str, list[str]] = {}
    for ax, regime in zip(axes, regimes, strict=True):
        shares = _shares_of_time(path, regime)
        ax.set_title(titled(regime, 3 * LETTERS // min(3, len(regimes))))
        ax.axvline(1.0, **TARGET)
        for method in sorted(shares, key=legend_order):
            share = np.sort(shares[method])
            late.setdefault(method, []).append(_percent(float((share > LATE).mean())))
            ax.plot(*_corners(share), drawstyle="steps-post", **style(method).line, label=method)
        ends = np.concatenate(list(shares.values()))
        ends = ends[np.isfinite(ends) & (ends > 0)]
        low, high = min(0.45, ends.min(initial=1.0) / 1.1), max(2.2, 1.1 * ends.max(initial=1.0))
        ax.set_xscale("log")
        ax.set_xlim(low, high)
        set_ticks(ax.xaxis, low, high, NUMBER)
        ax.set_xlabel("duration of a round / its time t")
    axes[0].set_ylim(0.0, 1.02)
    axes[0].set_ylabel("share of rounds")
    if count > len(regimes):
        figure.suptitle(partly(len(regimes), count), fontsize=7.5)
    notes = {method: f"late: {', '.join(texts)}" for method, texts in late.items()}
    figure.legend(handles=handles(late, notes), ncols=3, loc="outside lower center")
    return figure


def _shares_of_time(path: Path, regime: str) -> dict[str, npt.NDArray[np.float64]]:
    """The durations of each method's rounds, in units of the time that they were to take."""
    columns = ["method", "round", "start", "arrived", "seconds"]
    rows = read(path, columns, [("regime", "==", regime)])
    rounds = rows.groupby(["method", "round"]).agg(
        start=("start", "min"), arrived=("arrived", "max"), seconds=("seconds", "first")
    )
    timed = rounds["seconds"].dropna()
    if timed.empty:
        raise DataError(
            f"no method in {path} looks at time in regime {regime}, so that no round can be late; "
            "run a study that compares Kimad"
        )
    own = timed[timed.index.get_level_values("method") == KIMAD]
    t = rounds["seconds"].fillna((timed if own.empty else own).median())
    shares = (rounds["arrived"] - rounds["start"]) / t
    return {str(method): mine.to_numpy(float) for method, mine in shares.groupby("method")}


def _corners(ordered: npt.NDArray[np.float64]) -> tuple[npt.NDArray, npt.NDArray]:
    """Where a distribution function rises and what to, from 0 on; infinite rounds come never."""
    kept = np.unique(np.linspace(0, len(ordered) - 1, CORNERS).astype(int))
    kept = kept[np.isfinite(ordered[kept])]
    x, share = ordered[kept], (kept + 1) / len(ordered)
    return np.concatenate([x[:1], x]), np.concatenate([np.zeros(min(1, len(x))), share])


def _percent(share: float) -> str:
    """A share in whole percent, where none and all are told from almost."""
    text = f"{100 * share:.0f}"
    almost = text in ("0", "100") and 0 < share < 1
    return f"{({'0': '< 1', '100': '> 99'}[text]) if almost else text} %"
