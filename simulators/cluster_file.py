"""Clusters in CSV files: one row a worker, measured times in, the same times out.

    # unit: coordinate
    h,uplink,downlink,latency
    1.0,0.001,0.0,0.0

`h` and `uplink` are required, `downlink` and `latency` optional. A column `worker` may label the
rows for people; it is not kept. Comments stand above the header; one may give the unit.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from dopt.errors import ConfigurationError, DataError
from simulators.cluster import TIMES, Cluster


REQUIRED = ("h", "uplink")


def read_cluster(path: str | os.PathLike[str]) -> Cluster:
    """The cluster of the CSV file `path`; times are in seconds, `inf` is allowed.

    Raises:
        DataError: a file that cannot be read or is not such a table; the message gives the file,
            and the line and the column where there is one.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            unit, columns, lines = _header(path, file)
        times = _times(path, columns, lines)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: not a text of comma-separated values in UTF-8 ({error})"
        ) from None
    try:
        return Cluster(**times, unit=unit)
    except ConfigurationError as error:
        raise DataError(f"{path}: {error}") from None


def write_cluster(
    path: str | os.PathLike[str],
    cluster: Cluster,
    *,
    workers: Sequence[str] = (),
    comments: Sequence[str] = (),
) -> None:
    """Writes the times of `cluster` as a CSV file that `read_cluster` gives back bit for bit.

    Args:
        path: of the file.
        cluster: whose times are written.
        workers: a label of each row for people.
        comments: lines above the table.

    Raises:
        ConfigurationError: a comment that would be read as the unit, or not a label for each row.
        DataError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.csv

    path = Path(path)
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    if any(_given(line)[0] == "unit" for line in lines):
        raise ConfigurationError("a comment says `unit:`, and would be read as the cluster's unit")
    if workers and len(workers) != cluster.n:
        raise ConfigurationError(
            f"{len(workers)} labels for {cluster.n} workers; give one each, or none"
        )
    columns = [name for name in TIMES if name in REQUIRED or getattr(cluster, name).any()]
    labels = {"worker": pa.array(workers, pa.string())} if workers else {}
    table = pa.table(labels | {name: getattr(cluster, name) for name in columns})
    header = [*lines, f"# unit: {cluster.unit}", ",".join(table.column_names), ""]
    try:
        with path.open("wb") as file:
            file.write("\n".join(header).encode())
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=False))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None


def _header(path: Path, file: TextIO) -> tuple[str, list[str], int]:
    """The unit, the names of the columns, and the number of lines above the first row."""
    unit = "coordinate"
    for number, line in enumerate(file, start=1):
        text = line.strip()
        if text.startswith("#"):
            key, value = _given(text)
            if key == "unit":
                unit = value
                if unit not in ("coordinate", "bit"):
                    raise DataError(
                        f"{path}, line {number}: unit {unit!r}; it must be 'coordinate' or 'bit'"
                    )
        elif text:
            columns = [name.strip() for name in next(csv.reader([text]))]
            _check_columns(f"{path}, line {number}", columns)
            return unit, columns, number
    raise DataError(f"{path}: the file is empty; the first line names the columns, h,uplink")


def _given(comment: str) -> tuple[str | None, str]:
    """What a comment such as `# unit: bit` gives, and its value."""
    key, colon, value = comment.lstrip("# ").partition(":")
    return (key.strip(), value.strip()) if colon else (None, "")


def _check_columns(place: str, columns: list[str]) -> None:
    known = (*TIMES, "worker")
    for column, name in enumerate(columns, start=1):
        if name not in known:
            raise DataError(
                f"{place}, column {column}: unknown column {name!r}; "
                f"the columns are {', '.join(known)}, separated by commas"
            )
        if name in columns[: column - 1]:
            raise DataError(f"{place}, column {column}: column {name!r} stands there twice")
    for name in REQUIRED:
        if name not in columns:
            raise DataError(f"{place}: there is no column {name!r}; h and uplink are required")


def _times(path: Path, columns: list[str], lines: int) -> dict[str, Any]:
    """The columns of times, read at once; a fault sends us through the file line by line."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    types = {name: pa.string() if name == "worker" else pa.float64() for name in columns}
    wanted = [name for name in columns if name != "worker"]
    try:
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=columns, skip_rows=lines),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=wanted, null_values=[]
            ),
        )
    except pa.ArrowInvalid as error:
        _find_fault(path, columns, lines)
        raise DataError(f"{path}: {error}") from None
    if not all(pc.all(pc.greater_equal(table[name], 0)).as_py() for name in wanted):
        _find_fault(path, columns, lines)
    return {name: table[name].to_numpy() for name in wanted}


def _find_fault(path: Path, columns: list[str], lines: int) -> None:
    """Raises `DataError` for the first row that is not one time for each column."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for _ in range(lines):
            file.readline()
        rows = csv.reader(file)
        empty = True
        for row in rows:
            if row:
                empty = False
                _check_row(f"{path}, line {lines + rows.line_num}", columns, row)
    if empty:
        raise DataError(f"{path}: there is no worker below the header; write one row for each")


def _check_row(place: str, columns: list[str], row: list[str]) -> None:
    if len(row) != len(columns):
        raise DataError(
            f"{place}: {len(row)} values for {len(columns)} columns ({', '.join(columns)})"
        )
    for column, (name, text) in enumerate(zip(columns, row, strict=True), start=1):
        if name == "worker":
            continue
        try:
            seconds = float(text)
        except ValueError:
            seconds = float("nan")
        if not seconds >= 0:
            raise DataError(
                f"{place}, column {column} ({name}): {text!r} is not a time; "
                "give seconds >= 0, or inf for a worker that never answers"
            )
