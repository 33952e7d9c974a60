"""What `dopt compare` measures of one method at one budget, and its file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dopt.errors import DataError, DoptError
from dopt.evaluation import Divergence


SCHEMA_VERSION = 1

_SUMS = ("kl", "agree", "nll", "reference_nll", "counts")


class Measured(NamedTuple):
    """Of a compressed model.

    Attributes:
        bits: a weight, over the matrices of the layers.
        model_bits: a number, over the whole model.
        seconds: that compressing took, compilation included.
        size: bytes on disk.
        divergence: from the original.
    """

    bits: float
    model_bits: float
    seconds: float
    size: int
    divergence: Divergence


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        label: of the method.
        budget: bits a weight.
        measured: of the model that it gave.
    """

    label: str
    budget: float
    measured: Measured


def keep(path: Path, measured: Measured) -> None:
    """Writes a file that appears when it is whole.

    Raises:
        DoptError: it cannot be written.
    """
    _write(_table(measured), path)


def kept(path: Path) -> Measured | None:
    """What was written; None where there is no file.

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        rows = pd.read_parquet(path)
        first = rows.iloc[0]
        sums = {name: rows[name].to_numpy() for name in _SUMS}
        return Measured(
            float(first["bits"]),
            float(first["model_bits"]),
            float(first["seconds"]),
            int(first["size"]),
            Divergence(**sums, windows=str(first["windows"])),
        )
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path} is damaged ({error}); remove it") from error


def write_all(path: Path, rows: Sequence[Row]) -> None:
    """One table of all rows, a line a window; sums over its tokens, in nats.

    Raises:
        DoptError: it cannot be written.
    """
    tables = [
        _table(row.measured).assign(method=row.label, budget=row.budget, window=range(_count(row)))
        for row in rows
    ]
    if tables:
        _write(pd.concat(tables, ignore_index=True), path)


def _count(row: Row) -> int:
    return row.measured.divergence.counts.size


def _table(measured: Measured) -> pd.DataFrame:
    found: dict[str, Any] = {name: getattr(measured.divergence, name) for name in _SUMS}
    told = measured._asdict() | {"divergence": None}
    constants = {name: value for name, value in told.items() if value is not None}
    windows = measured.divergence.windows
    return pd.DataFrame(found | constants | {"windows": windows, "schema_version": SCHEMA_VERSION})


def _write(table: pd.DataFrame, path: Path) -> None:
    staged = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(staged, index=False)
        os.replace(staged, path)
    except OSError as error:
        raise DoptError(f"{path} cannot be written: {error.strerror or error}") from error
