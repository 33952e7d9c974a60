"""The figures of a study: progress of each method against virtual time and bits, regime by regime.

A figure has one panel a regime. A curve is the median over the report runs of a method, its band
reaches from the first to the third quartile, and a run that diverged counts as the worst. The
dashed line is the target; a marker on it stands at the median of the runs' first times there (a
run that never comes counts as infinitely late). The legend gives the step size γ, panel by panel
where they differ.

Of the table `runs` the figures read phase, regime, method, step_size and status, and of a config
`regime_title`, `regime_order`, `target` (each may be left out) and `cluster.n`.
"""

import json
import logging
import math
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from dopt.errors import DataError, DoptError
from dopt.results import Status
from dopt.results.read import load
from experiments.style import BAND, PAPER, TARGET, legend_order, style


log = logging.getLogger("dopt")

Values = npt.NDArray[np.float64]

WORST = 1e300
"""Stands for infinity, so that quartiles can be interpolated."""


class Run(NamedTuple):
    """The records of one run, with the column `bits`: those sent up, a worker."""

    records: pd.DataFrame
    diverged: bool


@dataclass(frozen=True)
class Regime:
    """One panel: the report runs of each method, and the step size that they used."""

    title: str
    target: float | None
    runs: dict[str, list[Run]]
    step_sizes: dict[str, float]


@dataclass(frozen=True)
class Quantity:
    """What a figure shows: column `y` against column `x` of the traces."""

    x: str
    y: str
    x_label: str
    y_label: str
    log: bool

    @property
    def scale(self) -> str:
        """The name of the scale of the y axis."""
        return "log" if self.log else "linear"

    def target(self, regime: Regime) -> float | None:
        """The target of the regime, if it is one for this quantity."""
        return regime.target if self.y == "grad_norm2" else None


class Curve(NamedTuple):
    """The quartiles of `y` over the runs, at the values `x` > 0 of any of them."""

    x: Values
    low: Values
    median: Values
    high: Values
    start: float


def draw(folder: str | os.PathLike[str]) -> list[Path]:
    """Draws the figures of the results in `folder`, and writes them there as PNG and PDF.

    `gradient_vs_time`, `gradient_vs_bits` (unless no method sends anything) and `loss_vs_time`:
    f(x) − f* where the traces know it, else f(x). Settings of matplotlib stay as they are.

    Returns:
        The files written.

    Raises:
        DoptError: no results or no report runs in the folder, report runs of one method at
            several step sizes, or a folder that cannot be written.
    """
    folder = Path(folder)
    regimes = read_regimes(folder)
    paths = []
    with matplotlib.style.context(PAPER, after_reset=True):
        for name, quantity in _quantities(regimes).items():
            figure = _figure(regimes, quantity)
            paths += [_save(figure, folder / f"{name}.{ending}") for ending in ("png", "pdf")]
    return paths


def read_regimes(folder: Path) -> list[Regime]:
    """The report runs in `folder`, regime by regime; raises as `draw`."""
    runs, traces = load(folder)
    runs = runs[runs["phase"] == "report"]
    final = [Status(status).is_final for status in runs["status"]]
    if not any(final):
        raise DataError(
            f"there is no finished report run in {folder}, and figures show nothing else; "
            "run the study in this folder again: it goes on where it was stopped"
        )
    if not all(final):
        log.warning("%d interrupted or failed runs are not in the figures", final.count(False))
    runs = runs[final].assign(config=[json.loads(text) for text in runs["config"][final]])
    kept = traces[traces["run_id"].isin(runs["run_id"])]
    if not (kept["time"] > 0).any():
        raise DataError(f"no server of the report runs in {folder} ever moved; ")
    records = {str(name): rows for name, rows in kept.groupby("run_id", observed=True)}
    groups = [rows for _, rows in runs.groupby("regime", sort=False)]
    groups.sort(key=lambda rows: rows["config"].iloc[0].get("regime_order", 0))
    return [_regime(rows, records) for rows in groups]


def _regime(rows: pd.DataFrame, records: dict[str, pd.DataFrame]) -> Regime:
    name, config = rows["regime"].iloc[0], rows["config"].iloc[0]
    runs: dict[str, list[Run]] = defaultdict(list)
    step_sizes: dict[str, float] = {}
    for row in rows.itertuples():
        if step_sizes.setdefault(row.method, row.step_size) != row.step_size:
            raise DataError(
                f"regime {name!r} has report runs of {row.method} at the step sizes "
                f"{step_sizes[row.method]:g} and {row.step_size:g}, and a curve shows one; "
                "the folder holds two studies: give each its own"
            )
        trace = records.get(row.run_id)
        if trace is not None:
            trace = trace.assign(bits=trace["bits_up"] / row.config["cluster"]["n"])
            runs[row.method].append(Run(trace, row.status == Status.DIVERGED))
    return Regime(config.get("regime_title", name), config.get("target"), runs, step_sizes)


def _quantities(regimes: list[Regime]) -> dict[str, Quantity]:
    """The figures worth drawing, by name."""
    everything = pd.concat(
        [run.records for regime in regimes for runs in regime.runs.values() for run in runs]
    )
    first = everything[everything["record"] == 0]
    # A gap that equals the value comes from the bound f* >= 0 and says nothing more.
    has_gap = bool((first["gap"] > 0).all() and (first["gap"] != first["value"]).any())
    norm2, time = r"$\Vert\nabla f(x)\Vert^2$", "virtual time [s]"
    gap = Quantity("time", "gap", time, r"$f(x) - f^\ast$", log=True)
    value = Quantity("time", "value", time, "$f(x)$", log=False)
    figures = {
        "gradient_vs_time": Quantity("time", "grad_norm2", time, norm2, log=True),
        "gradient_vs_bits": Quantity(
            "bits", "grad_norm2", "bits sent up per worker", norm2, log=True
        ),
        "loss_vs_time": gap if has_gap else value,
    }
    if not everything["bits_up"].any():
        del figures["gradient_vs_bits"]
    return figures


def _curves(regime: Regime, quantity: Quantity) -> dict[str, Curve]:
    """The curve of each method whose `x` grows at all."""
    curves = {method: _quartiles(runs, quantity) for method, runs in regime.runs.items()}
    return {method: curve for method, curve in curves.items() if curve.x.size}


def _quartiles(runs: list[Run], quantity: Quantity) -> Curve:
    """The curve of some runs, as far as all of them go that did not diverge.

    Between two records of a run its value is that of the earlier one. Where the median run has
    diverged the curve ends, out of sight.
    """
    xs = [run.records[quantity.x].to_numpy(float) for run in runs]
    ends = [x[-1] for x, run in zip(xs, runs, strict=True) if not run.diverged]
    grid = np.unique(np.concatenate(xs))
    grid = grid[(grid >= max(x[0] for x in xs)) & (grid <= min(ends, default=math.inf))]
    values = np.empty((len(runs), len(grid)))
    for row, run, x in zip(values, runs, xs, strict=True):
        row[:] = run.records[quantity.y].to_numpy(float)[np.searchsorted(x, grid, "right") - 1]
        row[grid > x[-1]] = np.nan
    ranked = np.nan_to_num(values, nan=WORST, posinf=WORST)
    low, median, high = np.quantile(ranked, (0.25, 0.5, 0.75), axis=0)
    later = (grid > 0) & (np.cumsum(median == WORST) <= 1)
    return Curve(grid[later], low[later], median[later], high[later], float(median[0]))


def _first_at_target(runs: list[Run], x: str, target: float) -> float:
    """The median over runs of the first `x` at which ‖∇f(x)‖² ≤ target; infinite if most miss."""
    firsts = []
    for run in runs:
        reached = (run.records["grad_norm2"] <= target).to_numpy()
        firsts.append(run.records[x].iloc[reached.argmax()] if reached.any() else math.inf)
    return float(np.median(firsts))


def _figure(regimes: list[Regime], quantity: Quantity) -> Figure:
    figure = Figure(figsize=(max(3.4, 2.33 * len(regimes)), 2.9))
    axes = figure.subplots(1, len(regimes), sharey=True, squeeze=False)[0]
    panels = [_curves(regime, quantity) for regime in regimes]
    targets = [t for t in map(quantity.target, regimes) if t is not None]
    limits = _y_limits([curve for panel in panels for curve in panel.values()], targets, quantity)
    axes[0].set_ylabel(quantity.y_label)
    axes[0].set_yscale(quantity.scale)
    axes[0].set_ylim(limits)
    for ax, regime, curves in zip(axes, regimes, panels, strict=True):
        ax.set_title(re.sub(r"\^\((.*?)\)", r"$^{\1}$", regime.title))
        ax.set_xlabel(quantity.x_label)
        ax.set_xscale("log")
        if curves:
            _set_x_axis(ax, list(curves.values()), limits, quantity)
            _plot(ax, regime, curves, limits, quantity)
    _legend(figure, regimes, panels, targets)
    return figure


def _plot(
    ax: Axes,
    regime: Regime,
    curves: dict[str, Curve],
    limits: tuple[float, float],
    quantity: Quantity,
) -> None:
    bottom, top = limits
    above = top + 10 * (top - bottom)  # where a run has diverged, its curve leaves the panel
    target = quantity.target(regime)
    if target is not None:
        ax.axhline(target, **TARGET)
    for method in sorted(curves, key=legend_order, reverse=True):
        look = style(method)
        x, low, median, high, _ = curves[method]
        ax.fill_between(
            x, np.minimum(low, above), np.minimum(high, above), color=look.color, **BAND
        )
        ax.plot(x, np.minimum(median, above), **look.line, label=method)
        if target is not None:
            first = _first_at_target(regime.runs[method], quantity.x, target)
            if 0 < first < math.inf:
                ax.plot(first, target, look.marker, **look.mark)


def _y_limits(
    curves: list[Curve], targets: list[float], quantity: Quantity
) -> tuple[float, float]:
    """From the lowest band, or a little below the target, to the start or a little above it."""
    medians = np.concatenate([curve.median for curve in curves])
    lows = np.concatenate([curve.low for curve in curves])
    start = max(curve.start for curve in curves)
    if quantity.log:
        floor = min(targets) / 30 if targets else start * 1e-12
        bottom = min(max(min(lows[lows > 0]), floor), *targets, start) / 1.5
        return bottom, 1.5 * min(max(medians), 3 * start)
    bottom = min(lows)
    top = min(max(medians), start + 0.1 * (start - bottom))
    margin = 0.05 * (top - bottom) or 1.0
    return bottom - margin, top + margin


def _set_x_axis(
    ax: Axes, curves: list[Curve], limits: tuple[float, float], quantity: Quantity
) -> None:
    """From shortly before the first curve leaves its start to the end, a decade at least."""
    scaled = np.log if quantity.log else np.positive
    bottom, top = scaled(limits)
    right = max(curve.x[-1] for curve in curves)
    left = right / 10
    for curve in curves:
        way = np.abs(scaled(np.clip(curve.median, *limits)) - scaled(curve.start))
        moved = way > 0.03 * (top - bottom)
        if moved.any():
            left = min(left, curve.x[max(moved.argmax() - 1, 0)])
    ax.set_xlim(left / 1.1, right * 1.1)
    wide = right > 100 * left
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 3.0)))
    ax.xaxis.set_minor_locator(NullLocator())


def _legend(
    figure: Figure, regimes: list[Regime], panels: list[dict[str, Curve]], targets: list[float]
) -> None:
    """Below the panels, in as few rows as fit."""
    handles = []
    for method in sorted({m for regime in regimes for m in regime.step_sizes}, key=legend_order):
        look = style(method)
        if any(method in curves for curves in panels):
            note = _step_sizes([regime.step_sizes.get(method) for regime in regimes])
        elif any(method in regime.runs for regime in regimes):
            note = "sends nothing"
        else:
            note = "makes no step"
        mark = {"marker": look.marker, **look.mark} if targets else {}
        handles.append(Line2D([], [], **look.line, **mark, label=f"{method}\n{note}"))
    if targets:
        known = _power(targets[0], 10) if len(set(targets)) == 1 else "of the regime"
        label = f"target {known}\nmarker: first reached (median)"
        handles.append(Line2D([], [], **TARGET, label=label))
    rows, width = 0, math.inf
    while width > figure.bbox.width and rows < len(handles):
        rows += 1
        figure.legends.clear()
        columns = math.ceil(len(handles) / rows)
        legend = figure.legend(handles=handles, ncols=columns, loc="outside lower center")
        width = legend.get_window_extent().width


def _step_sizes(sizes: list[float | None]) -> str:
    """One step size a regime, or one for all of them."""
    texts = ["–" if size is None else _power(size, 2) for size in sizes]
    return r"$\gamma$ = " + (texts[0] if len(set(texts)) == 1 else ", ".join(texts))


def _power(number: float, base: int) -> str:
    """`number` as a power of the base where it is one."""
    exponent = round(math.log(number, base))
    if math.isclose(number, float(base) ** exponent):
        return f"${base}^{{{exponent}}}$"
    return f"{number:.3g}"


def _save(figure: Figure, path: Path) -> Path:
    """Writes the same bytes for the same results."""
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
    try:
        figure.savefig(path, metadata=metadata)
    except OSError as error:
        raise DoptError(
            f"cannot write {path}: {error.strerror}; copy the results to a folder of yours"
        ) from None
    return path
