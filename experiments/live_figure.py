"""The figure of `dopt live`: progress in seconds, lived and simulated."""

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
    """A panel a regime: what the study measures, lived in full lines and simulated in dashed ones.

    Seconds are virtual: those that were lived are divided by the scale of their run, as each has
    one of its own. Without delays there is no scale: they are real ones, and only what was lived
    is there.
    """
    delays = bool(traces["time"].notna().all())
    x = "time" if delays else "seconds"
    regimes = [r for r in study.regimes if r.name in set(traces["regime"])]
    width, height = PANEL_INCHES
    figure = Figure(figsize=(max(1.9 * width, width * len(regimes)), height))
    axes = figure.subplots(1, len(regimes), sharey=True, squeeze=False)[0]
    for ax, regime in zip(axes, regimes, strict=True):
        mine = traces[traces["regime"] == regime.name].dropna(subset=[x])
        _panel(ax, mine, x, study)
        ax.set_title(f"{regime.name}, {regime.cluster.n} workers")
        ax.set_xlabel("virtual time [s]" if delays else "real time [s], no delays")
    axes[0].set_ylabel(LABELS[study.measure])
    figure.legend(handles=_handles(traces, delays), loc="outside lower center", ncols=3)
    return figure


def _panel(ax: Axes, traces: pd.DataFrame, x: str, study: Study) -> None:
    """The curves of one regime; the start stands at the left edge."""
    ax.axhline(study.target, **TARGET)
    ax.set_xscale("log")
    if study.measure == "grad_norm2":
        ax.set_yscale("log")
    first = traces.loc[traces["step"] > 0, x].min()
    for method in sorted(traces["method"].unique(), key=legend_order, reverse=True):
        for source in (LIVED, SIMULATED):
            curve = traces[(traces["method"] == method) & (traces["source"] == source)]
            seconds = np.maximum(curve[x], first / 1.5)
            line = _line(source, style(method).color)
            ax.plot(seconds, curve[study.measure], drawstyle="steps-post", **line)


def _line(source: str, color: str) -> dict[str, Any]:
    return {"color": color, "linestyle": "-" if source == LIVED else (0, DASHED)}


def _handles(traces: pd.DataFrame, delays: bool) -> list[Line2D]:
    """A colour a method, a line a source, and the target."""
    methods = sorted(traces["method"].unique(), key=legend_order)
    found = [
        Line2D([], [], label=method, **_line(LIVED, style(method).color)) for method in methods
    ]
    for source in (LIVED, SIMULATED) if delays else (LIVED,):
        found.append(Line2D([], [], label=source, **_line(source, GREY)))
    return [*found, Line2D([], [], label="target", **TARGET)]
