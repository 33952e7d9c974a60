"""The figure of `dopt live`: a panel a run, its progress in seconds, lived and simulated."""

import io
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.lived import LIVED, SIMULATED
from experiments.study import Study
from experiments.style import DASHED, PANEL_INCHES, PAPER, TARGET, legend_order, style


GREY = "#555555"

COLUMNS = 4
"""Panels in a row."""

LABELS = {"grad_norm2": r"$\Vert\nabla f(x)\Vert^2$", "value": "$f(x)$"}


def figure_files(study: Study, traces: pd.DataFrame) -> dict[str, bytes]:
    """`live.png` and `live.pdf`, in the look of the paper, whatever the caller's.

    Args:
        study: whose regimes and goal these are.
        traces: the table `live_traces`.
    """
    found = {}
    with matplotlib.style.context(PAPER, after_reset=True):
        figure = live_figure(study, traces)
        for ending, metadata in (("png", None), ("pdf", {"CreationDate": None})):
            file = io.BytesIO()
            figure.savefig(file, format=ending, metadata=metadata)
            found[f"live.{ending}"] = file.getvalue()
    return found


def live_figure(study: Study, traces: pd.DataFrame) -> Figure:
    """A panel a run: what the study measures, lived in a full line and simulated in a dashed one.

    Seconds are virtual: those that were lived are divided by the scale of their run, as each has
    one of its own. Without delays there is no scale: they are real ones, and only what was lived
    is there.
    """
    delays = bool(traces["time"].notna().all())
    x = "time" if delays else "seconds"
    order = {regime.name: place for place, regime in enumerate(study.regimes)}
    runs = sorted(
        traces[["regime", "method"]].drop_duplicates().itertuples(index=False, name=None),
        key=lambda run: (order[run[0]], legend_order(run[1])),
    )
    alone = len({regime for regime, _ in runs}) == 1
    columns = min(COLUMNS, len(runs))
    rows = -(-len(runs) // columns)
    width, height = PANEL_INCHES
    size = (max(1.4 * width, 0.62 * width * columns), 0.62 * height * rows + 0.5)
    figure = Figure(figsize=size)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, ax in enumerate(grid.flat):
        if place >= len(runs):
            ax.set_visible(False)
            continue
        regime, method = runs[place]
        mine = traces[(traces["regime"] == regime) & (traces["method"] == method)]
        _panel(ax, mine.dropna(subset=[x]), x, study)
        ax.set_title(method if alone else f"{regime}: {method}", fontsize="medium")
        if place + columns >= len(runs):
            ax.xaxis.set_tick_params(labelbottom=True)
            ax.set_xlabel("virtual time [s]" if delays else "real time [s], no delays")
        if place % columns == 0:
            ax.set_ylabel(LABELS[study.measure])
    if alone:
        (regime,) = (regime for regime in study.regimes if regime.name == runs[0][0])
        figure.suptitle(f"{regime.name}, {regime.cluster.n} workers")
    figure.legend(handles=_handles(delays), loc="outside lower center", ncols=3)
    return figure


def _panel(ax: Axes, traces: pd.DataFrame, x: str, study: Study) -> None:
    """Both curves of one run; the start stands at the left edge."""
    ax.axhline(study.target, **TARGET)
    ax.set_xscale("log")
    if study.measure == "grad_norm2":
        ax.set_yscale("log")
    first = traces.loc[traces["step"] > 0, x].min()
    for source in (LIVED, SIMULATED):
        curve = traces[traces["source"] == source]
        seconds = np.maximum(curve[x], first / 1.5)
        color = style(traces["method"].iloc[0]).color if source == LIVED else GREY
        ax.plot(seconds, curve[study.measure], drawstyle="steps-post", **_line(source, color))


def _line(source: str, color: str) -> dict[str, Any]:
    if source == LIVED:
        return {"color": color, "linestyle": "-"}
    return {"color": color, "linestyle": (0, DASHED), "linewidth": 1.2}


def _handles(delays: bool) -> list[Line2D]:
    """A line a source, and the target."""
    found = [Line2D([], [], label="lived (a colour a method)", **_line(LIVED, "#000000"))]
    if delays:
        found.append(Line2D([], [], label=SIMULATED, **_line(SIMULATED, GREY)))
    return [*found, Line2D([], [], label="target", **TARGET)]
