"""Kimad on many recorded links: on how many it is ahead, and by how much.

A regime is a trace. What is shown is the time to the target of another method in units of Kimad's:
above 1, Kimad was first. Where only the other never reached the target the ratio is infinite, and 0
where only Kimad never did; where neither did there is none, but the trace counts.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dopt.errors import DataError
from experiments.kimad import BEST_FIXED, KIMAD, SAME_BUDGET, UNCOMPRESSED
from experiments.kimad_panels import NUMBER, panels, set_ticks, write
from experiments.style import PANEL_INCHES, TARGET, style


REFERENCES = (SAME_BUDGET, BEST_FIXED, UNCOMPRESSED)
"""Whom Kimad is compared with, in the order of the panels."""

EDGES = {"only Kimad reaches the target": "^", "only the other reaches it": "v"}
"""The markers at the upper and the lower edge."""

GREY = "#555555"


def draw_traces(
    summary: pd.DataFrame, folder: str | os.PathLike[str], reference: str = SAME_BUDGET
) -> list[Path]:
    """Draws `traces`: the ratios of all traces in ascending order, a panel a method.

    Args:
        summary: what `experiments.summary.summarize` gives.
        folder: where to write.
        reference: the method of the first panel.

    Returns:
        The files written.

    Raises:
        DataError: the summary lacks Kimad, or whom to compare it with.
        DoptError: the folder cannot be written.
    """
    return write(lambda: traces_figure(summary, reference), Path(folder) / "traces")


def traces_figure(summary: pd.DataFrame, reference: str = SAME_BUDGET) -> Figure:
    """The figure of `draw_traces`, in the caller's settings of matplotlib."""
    ratios = _ratios(_times(summary))
    if reference not in ratios:
        raise DataError(
            f"there is no {reference!r} in the summary to compare Kimad with; it has "
            f"{', '.join(ratios)}"
        )
    ratios = {reference: ratios.pop(reference)} | ratios
    figure = panels(len(ratios), PANEL_INCHES[1] - 0.3)
    (axes,) = figure.subplots(1, len(ratios), sharey=True, squeeze=False)
    all_ratios = np.concatenate([own.to_numpy(float) for own in ratios.values()])
    finite = all_ratios[np.isfinite(all_ratios) & (all_ratios > 0)]
    low, high = min(0.45, finite.min(initial=1.0) / 1.6), max(2.2, 1.6 * finite.max(initial=1.0))
    axes[0].set_yscale("log")
    axes[0].set_ylim(low, high)
    set_ticks(axes[0].yaxis, low, high, NUMBER)
    axes[0].set_ylabel("time to target / Kimad's")
    for ax, (method, own) in zip(axes, ratios.items(), strict=True):
        ax.set_title(method)
        ax.set_xlabel("traces, sorted")
        ax.axhline(1.0, **TARGET)
        _draw(ax, own.to_numpy(float), style(method).color)
        text = f"Kimad first on {(own > 1).sum()} of {len(own)}"
        neither = int(own.isna().sum())
        note = f"\nneither reaches the target: {neither}" if neither else ""
        counts = ax.text(0.03, 0.96, text + note, transform=ax.transAxes, va="top")
        counts.set_in_layout(False)
        counts.set_bbox({"facecolor": "white", "linewidth": 0.0, "pad": 1.0})
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    figure.legend(handles=_handles(all_ratios), ncols=3, loc="outside lower center")
    return figure


def _draw(ax: Axes, ratios: npt.NDArray[np.float64], color: str) -> None:
    """A point a trace; what has no place between the edges is drawn on them."""
    ordered = np.sort(ratios[~np.isnan(ratios)])
    place = np.arange(1, len(ordered) + 1)
    low, high = ax.get_ylim()
    above, below = EDGES.values()
    for marker, hit in ((above, np.isinf(ordered)), (below, ordered == 0)):
        if hit.any():
            edge = np.full(hit.sum(), high if marker == above else low)
            ax.plot(place[hit], edge, color=color, clip_on=False, zorder=3.0, **_edge(marker))
    within = np.isfinite(ordered) & (ordered > 0)
    if within.any():
        ax.plot(place[within], ordered[within], "o", color=color, markersize=2.4)
    ax.set_xlim(0, len(ratios) + 1)


def _edge(marker: str) -> dict[str, Any]:
    return {
        "linestyle": "",
        "marker": marker,
        "markersize": 3.6,
        "markerfacecolor": "white",
        "markeredgewidth": 0.6,
    }


def _handles(ratios: npt.NDArray[np.float64]) -> list[Line2D]:
    found = [Line2D([], [], **TARGET, label="as long as Kimad")]
    for (label, marker), hit in zip(EDGES.items(), (np.isinf(ratios), ratios == 0), strict=True):
        if hit.any():
            found.append(Line2D([], [], color=GREY, label=label, **_edge(marker)))
    return found


def table_of_traces(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a set of traces and method that Kimad is compared with; then those of all sets.

    A regime belongs to the set that stands before the last comma of its name. Quartiles are those
    of the traces where one of the two reached the target, and of two middle ones the lower: a trace
    that only Kimad missed counts as 0, one that only it reached as infinite.

    Returns:
        The columns `set`, `reference`, `traces`, `kimad_first`, `lower_quartile`, `median` and
        `upper_quartile` of the ratio, `kimad_never` and `reference_never`.

    Raises:
        DataError: the summary lacks Kimad, or whom to compare it with.
    """
    times = _times(summary)
    ratios = _ratios(times)
    of = {regime: regime.rpartition(", ")[0] for regime in map(str, times.index)}
    names = list(dict.fromkeys(filter(None, of.values())))
    rows = []
    for name in [*(names if len(names) > 1 else []), "all"]:
        chosen = [regime for regime in times.index if name == "all" or of[str(regime)] == name]
        for method, every in ratios.items():
            own = every[every.index.isin(chosen)]
            if own.empty:
                continue
            rows.append(
                {"set": name, "reference": method} | _row(own, times.loc[own.index], method)
            )
    return pd.DataFrame(rows)


def _times(summary: pd.DataFrame) -> pd.DataFrame:
    """The time to the target, a trace a row and a method a column; NaN of who did not run."""
    times = summary.pivot(index="regime", columns="method", values="time_to_target")
    if KIMAD not in times or not any(method in times for method in REFERENCES):
        raise DataError(
            f"the summary has {', '.join(map(str, times.columns)) or 'no method'}; give that of a "
            f"study that compares {KIMAD} with one of {'; '.join(REFERENCES)}"
        )
    return times.loc[list(dict.fromkeys(summary["regime"]))]


def _ratios(times: pd.DataFrame) -> dict[str, pd.Series]:
    """The times of each method in units of Kimad's, of the traces where both ran."""
    found = {}
    for method in REFERENCES:
        if method in times:
            both = times[[KIMAD, method]].dropna()
            with np.errstate(invalid="ignore"):  # where neither reaches it
                found[method] = both[method] / both[KIMAD]
    return found


def _row(ratios: pd.Series, times: pd.DataFrame, method: str) -> dict[str, float]:
    known = ratios.dropna().to_numpy(float)
    quartiles = np.full(3, np.nan)
    if len(known):
        quartiles = np.quantile(known, (0.25, 0.5, 0.75), method="lower")
    return {
        "traces": len(ratios),
        "kimad_first": int((ratios > 1).sum()),
        "lower_quartile": quartiles[0],
        "median": quartiles[1],
        "upper_quartile": quartiles[2],
        "kimad_never": int(np.isinf(times[KIMAD]).sum()),
        "reference_never": int(np.isinf(times[method]).sum()),
    }


def sentence(table: pd.DataFrame) -> str:
    """What `table_of_traces` says of all traces, in a line for the log."""
    parts = []
    for row in table[table["set"] == "all"].itertuples():
        quartiles = f"quartiles {row.lower_quartile:.3g} and {row.upper_quartile:.3g}"
        parts.append(
            f"{row.reference}: {row.kimad_first} of {row.traces} (median of its time / Kimad's "
            f"{row.median:.3g}, {quartiles}; targets missed: {row.reference_never}, by Kimad "
            f"{row.kimad_never})"
        )
    return "Kimad first against " + "; ".join(parts)
