"""The figure of `dopt compress --dynamic`: which matrices get the bits, beside α."""

from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.style import PAPER


INCHES = (7.0, 2.7)
COLORS = "viridis"
"""From dark to light in grey as well, and for the colour-blind."""


def draw_bits(rows: pd.DataFrame, path: Path) -> list[Path]:
    """Draws the bits and α of all matrices, a layer a column and a kind of matrix a row.

    Args:
        rows: with columns layer, kind, bits and alpha.
        path: of the files, without their suffix.

    Returns:
        The files written, PNG and PDF.

    Raises:
        OSError: they cannot be written.
    """
    paths = [path.with_suffix(".png"), path.with_suffix(".pdf")]
    with matplotlib.style.context(PAPER, after_reset=True):
        shown = figure(rows)
        shown.savefig(paths[0])
        shown.savefig(paths[1], metadata={"CreationDate": None})
    return paths


def figure(rows: pd.DataFrame) -> Figure:
    """The figure of `draw_bits`, in the caller's settings of matplotlib."""
    kinds, layers = list(dict.fromkeys(rows["kind"])), 1 + int(rows["layer"].max())
    shown = Figure(figsize=INCHES)
    axes = shown.subplots(1, 2, sharey=True)
    for ax, column, title in zip(axes, ("bits", "alpha"), ("bits a weight", "α"), strict=True):
        values = np.full((len(kinds), layers), np.nan)
        for kind, layer, value in zip(rows["kind"], rows["layer"], rows[column], strict=True):
            values[kinds.index(kind), layer] = value
        _panel(ax, values, title, log=column == "alpha")
    axes[0].set_yticks(range(len(kinds)), labels=kinds)
    return shown


def _panel(ax: Axes, values: Float64[np.ndarray, "kinds layers"], title: str, log: bool) -> None:
    positive = values[values > 0]
    logarithmic = log and positive.size and positive.min() < positive.max()
    scale = LogNorm(positive.min(), positive.max()) if logarithmic else Normalize()
    image = ax.imshow(values, aspect="auto", cmap=COLORS, norm=scale, interpolation="nearest")
    ax.grid(visible=False)
    ax.set_title(title)
    ax.set_xlabel("layer")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02)
    bar.outline.set_linewidth(0.6)
