"""What the figures of Kimad share: tables, titles, axes and files."""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
import pyarrow
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, NullLocator
from pyarrow import parquet

from dopt.errors import DataError
from experiments.figures import save
from experiments.style import PANEL_INCHES, PAPER, legend_order, style


INCHES = 3 * PANEL_INCHES[0]
"""The width of a figure, unless it has more than three columns."""

LETTERS = 36
"""Letters of a title that fit above a panel of three."""

NUMBER = FuncFormatter(lambda value, _: f"{value:g}")
"""Ticks as plain numbers."""


def read(path: Path, columns: list[str], filters: list[tuple[str, str, Any]]) -> pd.DataFrame:
    """Columns of a table, of the rows that all filters let through.

    Raises:
        DataError: it is not there, is damaged, lacks a column or has no such row.
    """
    remedy = f"run a study of Kimad there, such as `dopt sweep kimad-mnist --out {path.parent}`"
    try:
        table = parquet.read_table(path, columns=columns, filters=filters or None)
    except FileNotFoundError:
        raise DataError(f"there is no {path.name} in {path.parent}; {remedy}") from None
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read: {reason}; {remedy}") from None
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(f"{path} has no column {missing[0]}; {remedy}")
    if not table.num_rows:
        raise DataError(f"{path} has no rows to show; {remedy}")
    return table.to_pandas()


def shown_regimes(path: Path) -> tuple[list[str], int]:
    """The regimes of a table that get a column, and how many there are.

    Of more than four the first three, in the order of the table, whatever they hold.
    """
    found = list(dict.fromkeys(read(path, ["regime"], [])["regime"]))
    return found if len(found) <= 4 else found[:3], len(found)


def partly(shown: int, count: int) -> str:
    """That some regimes are left out, if they are."""
    return f"first {shown} of {count} regimes" if count > shown else ""


def panels(columns: int, height: float) -> Figure:
    """An empty figure with room for so many panels side by side."""
    return Figure(figsize=(max(INCHES, PANEL_INCHES[0] * columns), height))


def titled(text: str, most: int) -> str:
    """A title in lines of at most so many letters, all about as long; words are not broken."""

    def lines(width: int) -> list[str]:
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

    fewest = len(lines(most))
    longest = max(map(len, text.split()), default=1)
    widths = range(min(longest, most), most + 1)
    return "\n".join(next(found for found in map(lines, widths) if len(found) <= fewest))


def handles(methods: Iterable[str], notes: Mapping[str, str]) -> list[Line2D]:
    """The legend's lines; a method may have a second line of text."""
    return [
        Line2D([], [], **style(name).line, label="\n".join(filter(None, (name, notes.get(name)))))
        for name in sorted(methods, key=legend_order)
    ]


def set_ticks(axis: Axis, low: float, high: float, formatter: Formatter) -> None:
    """The ticks of a logarithmic axis: decades, and between them where there are few."""
    decades = math.log10(high / low)
    subs = (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(formatter)
    axis.set_minor_locator(NullLocator())


def write(make: Callable[[], Figure], path: Path) -> list[Path]:
    """Makes a figure in the look of the paper, whatever the caller's, and writes PNG and PDF.

    Returns:
        The files written: `path` with both endings.

    Raises:
        DoptError: the folder cannot be written.
    """
    paths = [path.with_suffix(ending) for ending in (".png", ".pdf")]
    with matplotlib.style.context(PAPER, after_reset=True):
        figure = make()
        return [save(figure, target) for target in paths]
