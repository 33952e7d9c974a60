"""The figure of Kimad's layers: how much of each travelled, round by round."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from experiments.kimad_panels import INCHES, partly, read, titled, write
from experiments.style import legend_order


NAMES = 64
"""Layers that have room on a page, of all regimes that are shown."""

LAYER_INCHES = 0.092
"""The height of a layer where there are many."""

CELLS = 500
"""Columns of a heat map at most; of more rounds, neighbours are averaged."""

COLORS = "viridis"
"""From dark to light in grey as well, and for the colour-blind."""


class Heat(NamedTuple):
    """log₁₀ of a share, a layer a row and a round, or some, a column; the first and last round."""

    values: npt.NDArray[np.float64]
    first: int
    last: int


def draw_layers(folder: str | os.PathLike[str]) -> list[Path]:
    """Draws `layers`: the share of each layer that travelled, round by round, as a heat map.

    It shows the table `layers.parquet`. A row of panels is a regime, of the first as many as have
    room; a column is a method. The colour is log₁₀ of the share, the mean over workers; white:
    nothing was sent of the layer.

    Returns:
        The files written.

    Raises:
        DataError: there is no table of layers, or an empty or damaged one.
        DoptError: the folder cannot be written.
    """
    folder = Path(folder)
    return write(lambda: layers_figure(folder), folder / "layers")


def layers_figure(folder: Path) -> Figure:
    """The figure of `draw_layers`, in the caller's settings of matplotlib."""
    path = folder / "layers.parquet"
    layers = read(path, ["regime", "layer", "name", "size"], []).drop_duplicates()
    regimes = list(dict.fromkeys(layers["regime"]))
    taken = layers.groupby("regime").size()[regimes].cumsum()
    shown = regimes[: max(1, int((taken <= NAMES).sum()))]
    maps = {regime: _maps(path, regime) for regime in shown}
    methods = sorted({method for own in maps.values() for method in own}, key=legend_order)
    scale = _scale([heat.values for own in maps.values() for heat in own.values()])
    heights = [max(1.0, LAYER_INCHES * (layers["regime"] == regime).sum()) for regime in shown]
    figure = Figure(figsize=(INCHES, sum(heights) + 0.5 * len(shown) + 0.45))
    grid = figure.subplots(len(shown), len(methods), squeeze=False, height_ratios=heights)
    for axes, (regime, own), height in zip(grid, maps.items(), heights, strict=True):
        for ax, method in zip(axes, methods, strict=True):
            title = method if len(shown) == 1 else f"{method}, {regime}"
            ax.set_title(titled(title, 86 // len(methods)))
            ax.grid(visible=False)
            ax.set_yticks([])
            if method in own:
                image = _draw(ax, own[method], scale)
        _name(axes[0], layers[layers["regime"] == regime].sort_values("layer"), height)
    for ax in grid[-1]:
        ax.set_xlabel("round")
    bar = figure.colorbar(image, ax=grid, fraction=0.03, pad=0.015, aspect=30)
    bar.set_label("share of layer sent")
    shares = [s * 10.0**power for power in range(-9, 1) for s in (1, 2, 5)]
    bar.set_ticks([math.log10(share) for share in shares], labels=[f"{s:.1g}" for s in shares])
    bar.ax.set_ylim(scale.vmin, scale.vmax)
    bar.outline.set_linewidth(0.6)
    first = shown[0] if len(shown) == 1 else ""
    title = "; ".join(filter(None, (first, partly(len(shown), len(regimes)))))
    if title:
        figure.suptitle(title, fontsize=7.5)
    return figure


def _maps(path: Path, regime: str) -> dict[str, Heat]:
    """The heat map of each method."""
    rows = read(path, ["method", "round", "layer", "ratio"], [("regime", "==", regime)])
    found = {}
    for method, own in rows.groupby("method"):
        table = own.pivot_table(index="layer", columns="round", values="ratio")
        rounds = table.shape[1]
        first = np.unique(np.arange(min(CELLS, rounds)) * rounds // min(CELLS, rounds))
        sums = np.add.reduceat(table.to_numpy(float), first, axis=1)
        mean = sums / np.diff(first, append=rounds)
        logs = np.log10(mean, where=mean > 0, out=np.full_like(mean, np.nan))
        found[str(method)] = Heat(logs, int(table.columns[0]), int(table.columns[-1]))
    return found


def _scale(maps: Sequence[npt.NDArray[np.float64]]) -> Normalize:
    """One scale of colours for all of them."""
    values = np.concatenate([values.ravel() for values in maps])
    values = values[np.isfinite(values)]
    low, high = values.min(initial=0.0), values.max(initial=-9.0)
    return Normalize(low, high) if low < high else Normalize(low - 0.5, low + 0.5)


def _draw(ax: Axes, heat: Heat, scale: Normalize) -> AxesImage:
    """A heat map whose first layer is on top."""
    extent = (heat.first - 0.5, heat.last + 0.5, len(heat.values) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    return ax.imshow(
        heat.values, cmap=COLORS, norm=scale, aspect="auto", interpolation="nearest", extent=extent
    )


def _name(ax: Axes, layers: pd.DataFrame, height: float) -> None:
    """The names and sizes of layers beside a panel, in letters that fit."""
    pairs = zip(layers["name"], layers["size"], strict=True)
    font = min(6.5, 72 * height / len(layers) - 1.2)
    labels = [f"{name}  {size:,}" for name, size in pairs]
    ax.set_yticks(range(len(layers)), labels, fontsize=font)
    ax.tick_params(axis="y", length=0.0, pad=2.0)
