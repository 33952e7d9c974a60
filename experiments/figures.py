"""The figures of a study: progress of each method against virtual time and bits, regime by regime.

A figure has one panel a regime, in the rows that the study gives. A curve is the median over the
report runs of a method, and its band reaches from the first to the third quartile; a run that
diverged counts as the worst, and its curve leaves the panel at the top. The dashed line is the
target; the marker on it stands at the median of the times at which the runs first meet it. The
legend gives the step size γ, as a multiple of theory's where that was tuned, panel by panel where
they differ.
"""

import math
import os
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullLocator

from dopt.errors import DoptError
from experiments.curves import Curve, Regime, first_at_target, quartiles, read_regimes
from experiments.style import BAND, PANEL_INCHES, PAPER, ROW_INCHES, TARGET, legend_order, style
from experiments.tuned import Goal


Limits = tuple[float, float]


@dataclass(frozen=True)
class Quantity:
    """What a figure shows: column `y` of the traces against column `x`."""

    x: str
    y: str
    x_label: str
    y_label: str
    log: bool

    @property
    def scale(self) -> str:
        """The name of the scale of the y axis."""
        return "log" if self.log else "linear"

    def goal(self, regime: Regime) -> Goal | None:
        """The goal of the regime, if it is one for this quantity."""
        return regime.goal if regime.goal is not None and regime.goal.measure == self.y else None

    def curves(self, regime: Regime) -> dict[str, Curve]:
        """The curve of each method whose `x` grows at all."""
        found = {method: quartiles(runs, self.x, self.y) for method, runs in regime.runs.items()}
        return {method: curve for method, curve in found.items() if curve.x[-1] > 0}


def draw(folder: str | os.PathLike[str]) -> list[Path]:
    """Draws the figures of the results in `folder`, and writes them there as PNG and PDF.

    They are `gradient_vs_time` and `gradient_vs_bits` (unless no method sends anything), `loss_`
    (f(x) − f* where f* is known, else f(x)) against what the study counts, and `accuracy_` where it
    was measured. The same results give the same bytes; a caller's settings of matplotlib neither
    count nor change.

    Returns:
        The files written.

    Raises:
        DoptError: no results or no report runs in the folder, runs of several studies, or a
            folder that cannot be written.
    """
    folder = Path(folder)
    regimes = read_regimes(folder)
    with matplotlib.style.context(PAPER, after_reset=True):
        return [
            save(figure, folder / f"{name}.{ending}")
            for name, figure in figures(regimes).items()
            for ending in ("png", "pdf")
        ]


def figures(regimes: list[Regime]) -> dict[str, Figure]:
    """The figures of `draw`, by name, in the caller's settings of matplotlib."""
    return {name: _figure(regimes, quantity) for name, quantity in _quantities(regimes).items()}


def _quantities(regimes: list[Regime]) -> dict[str, Quantity]:
    """The figures worth drawing, by name, the one that says who was first at the beginning."""
    records = pd.concat(
        [run.records for regime in regimes for runs in regime.runs.values() for run in runs]
    )
    goal = regimes[0].goal or Goal(0.0)
    norm2 = r"$\Vert\nabla f(x)\Vert^2$"
    axes = {"time": ("time", "virtual time [s]")}
    if records["bits_up"].any():
        axes["bits"] = ("bits_per_worker", "bits sent up per worker")
    axes = dict(sorted(axes.items(), key=lambda axis: axis[0] != goal.axis))
    first = records[records["record"] == 0]
    if (first["gap"] > 0).all() and (first["gap"] != first["value"]).any():
        loss = ("gap", r"$f(x) - f^\ast$", True)
    else:  # f* is unknown, or only the bound 0
        loss = ("value", "$f(x)$", False)
    found = {}
    for name, (x, x_label) in axes.items():
        found[f"gradient_vs_{name}"] = Quantity(x, "grad_norm2", x_label, norm2, log=True)
        if name == goal.axis or goal.measure == "value":
            found[f"loss_vs_{name}"] = Quantity(x, loss[0], x_label, loss[1], log=loss[2])
        if records["accuracy"].notna().any():
            found[f"accuracy_vs_{name}"] = Quantity(x, "accuracy", x_label, "accuracy", log=False)
    kinds = ["gradient", "loss", "accuracy"]
    if goal.measure == "value":
        kinds = ["loss", "accuracy", "gradient"]
    return dict(sorted(found.items(), key=lambda item: kinds.index(item[0].partition("_")[0])))


def _figure(regimes: list[Regime], quantity: Quantity) -> Figure:
    rows = [[r for r in regimes if r.row == row] for row in sorted({r.row for r in regimes})]
    width, height = PANEL_INCHES
    columns = max(len(row) for row in rows)
    size = (max(1.5 * width, width * columns), height + ROW_INCHES * (len(rows) - 1))
    figure = Figure(figsize=size)
    grid = figure.subplots(len(rows), columns, sharey="row", squeeze=False)
    panels = []
    for row, axes in zip(rows, grid, strict=True):
        for ax in axes[len(row) :]:
            ax.remove()
        panels += _panels(row, list(axes[: len(row)]), quantity)
    for column, ax in enumerate(grid[-1]):
        below = [axes[column] for axes, row in zip(grid, rows, strict=True) if column < len(row)]
        (below or [ax])[-1].set_xlabel(quantity.x_label)
    _legend(figure, [regime for row in rows for regime in row], panels, quantity)
    return figure


def _panels(regimes: list[Regime], axes: list[Axes], quantity: Quantity) -> list[dict[str, Curve]]:
    """Draws the panels of one row, and gives their curves."""
    panels = [quantity.curves(regime) for regime in regimes]
    targets = [goal.target for goal in map(quantity.goal, regimes) if goal is not None]
    limits = _y_limits([curve for panel in panels for curve in panel.values()], targets, quantity)
    axes[0].set_ylabel(quantity.y_label)
    axes[0].set_yscale(quantity.scale)
    axes[0].set_ylim(limits)
    for ax, regime, curves in zip(axes, regimes, panels, strict=True):
        ax.set_title(_title(regime.title))
        ax.set_xscale("log")
        if curves:
            _set_x_axis(ax, list(curves.values()), limits, quantity)
            _plot(ax, regime, curves, limits, quantity)
    return panels


def _plot(
    ax: Axes, regime: Regime, curves: dict[str, Curve], limits: Limits, quantity: Quantity
) -> None:
    bottom, top = limits
    above = top + 10 * (top - bottom)
    below = -math.inf if quantity.log else bottom - 10 * (top - bottom)
    goal = quantity.goal(regime)
    if goal is not None:
        ax.axhline(goal.target, **TARGET)
    for method in sorted(curves, key=legend_order, reverse=True):
        look, curve = style(method), curves[method]
        x = np.maximum(curve.x, min(ax.get_xlim()[0], curve.x[1]))  # 0 goes to the left edge
        low, median, high = np.clip((curve.low, curve.median, curve.high), below, above)
        ax.fill_between(x, low, high, step="post", color=look.color, **BAND)
        ax.plot(x, median, drawstyle="steps-post", **look.line, label=method)
        if goal is not None:
            first = first_at_target(regime.runs[method], quantity.x, goal)
            if 0 < first < math.inf:
                ax.plot(first, goal.target, **look.mark)


def _y_limits(curves: list[Curve], targets: list[float], quantity: Quantity) -> Limits:
    """From the lowest band, or a little below the target, to the start or a little above it.

    How far above, is for the curves to say that end below it. Accuracy has all of its curves.
    """
    if quantity.y == "accuracy":
        kept = [a[np.abs(a) <= 1] for curve in curves for a in (curve.low, curve.high)]
        values = np.concatenate(kept)
        margin = 0.05 * (values.max() - values.min()) or 0.05
        return values.min() - margin, values.max() + margin
    lows = np.concatenate([curve.low for curve in curves])
    start = max(curve.median[0] for curve in curves)
    peak = max([start] + [c.median.max() for c in curves if c.median[-1] < start])
    if quantity.log:
        start, peak = (start, peak) if start > 0 else (1.0, 1.0)
        floor = min(targets) / 30 if targets else start * 1e-12
        bottom = max(lows[lows > 0].min(initial=start), floor)
        return min([bottom, *targets]) / 1.5, 2 * min(peak, 10 * start)
    bottom = min(lows.min(), start)
    top = min(peak, start + 0.3 * (start - bottom))
    margin = 0.05 * (top - bottom) or 1.0
    return bottom - margin, top + margin


def _set_x_axis(ax: Axes, curves: list[Curve], limits: Limits, quantity: Quantity) -> None:
    """From shortly before the first curve leaves its start to the end, a decade at least."""
    scaled = np.log if quantity.log else np.positive
    bottom, top = scaled(limits)
    right = max(curve.x[-1] for curve in curves)
    left = right / 10
    for curve in curves:
        path = scaled(np.clip(curve.median, *limits))
        moved = np.abs(path - path[0]) > 0.03 * (top - bottom)
        if moved.any():
            left = min(left, curve.x[moved.argmax()] / 1.5)
    ax.set_xlim(left, right * 1.1)
    wide = right > 100 * left
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 3.0)))
    ax.xaxis.set_major_formatter(LogFormatterSciNotation(minor_thresholds=(math.inf, math.inf)))
    ax.xaxis.set_minor_locator(NullLocator())


def _legend(
    figure: Figure, regimes: list[Regime], panels: list[dict[str, Curve]], quantity: Quantity
) -> None:
    """Below the panels, in as few rows as fit."""
    goals = [goal for goal in map(quantity.goal, regimes) if goal is not None]
    handles = []
    for method in sorted({m for regime in regimes for m in regime.step_sizes}, key=legend_order):
        look = style(method)
        if any(method in curves for curves in panels):
            note = _step_sizes(
                [regime for regime in regimes if method in regime.step_sizes], method
            )
        elif any(method in regime.runs for regime in regimes):
            note = "sends nothing"
        else:
            note = "the server never moves"
        mark = look.mark if goals else {}
        handles.append(Line2D([], [], **{**mark, **look.line}, label=f"{method}\n{note}"))
    if goals:
        targets = {goal.target for goal in goals}
        known = _power(goals[0].target, 10) if len(targets) == 1 else "of the regime"
        label = f"target {known}\nmarker: first met (median)"
        handles.append(Line2D([], [], **TARGET, label=label))
    rows, width = 0, math.inf
    while width > figure.bbox.width and rows < len(handles):
        rows += 1
        figure.legends.clear()
        columns = math.ceil(len(handles) / rows)
        legend = figure.legend(handles=handles, ncols=columns, loc="outside lower center")
        width = legend.get_window_extent().width


def _title(text: str) -> str:
    """`text` in lines that fit above a panel, with d^(3/4) raised."""
    return re.sub(r"\^\((.*?)\)", r"$^{\1}$", textwrap.fill(text, 42))


def _step_sizes(regimes: list[Regime], method: str) -> str:
    """One step size a regime, one for all of them, or of many the least and the greatest."""
    of_theory = all(method in regime.factors for regime in regimes)
    sizes = [(r.factors if of_theory else r.step_sizes)[method] for r in regimes]
    texts = [_power(size, 2) for size in sizes]
    name = r"$\gamma$ = theory" if of_theory else r"$\gamma$ = "
    if len(set(texts)) > 1 and len(texts) > 3:
        found = f"{_power(min(sizes), 2)} … {_power(max(sizes), 2)}"
    else:
        found = texts[0] if len(set(texts)) == 1 else ", ".join(texts)
    if not of_theory:
        return name + found
    return name if found == _power(1.0, 2) else f"{name} × {found}"


def _power(number: float, base: int) -> str:
    """`number` as a power of the base where it is one."""
    exponent = round(math.log(number, base))
    if math.isclose(number, float(base) ** exponent):
        return f"${base}^{{{exponent}}}$"
    return f"{number:.3g}"


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure, a PDF without its date.

    Raises:
        DoptError: the folder cannot be written.
    """
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
    try:
        figure.savefig(path, metadata=metadata)
    except OSError as error:
        raise DoptError(
            f"cannot write {path}: {error.strerror}; copy the results to a folder of yours"
        ) from None
    return path
