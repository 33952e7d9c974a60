"""The files of a results folder: written whole or not at all, and read with suspicion.

meta.json                       the version of the schema; which shards the merged files hold
shards/<batch>.traces.parquet   one batch of runs; the `runs` file takes its name last,
shards/<batch>.runs.parquet     so where it stands its traces stand too
runs.parquet, traces.parquet    all shards in one, made by `Store.merge`; may be deleted
"""

import errno
import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dopt.errors import DoptError, SchemaError
from dopt.results.places import Place
from dopt.results.schema import (
    MERGED_COLUMNS,
    SCHEMA_VERSION,
    merged_traces_schema,
    runs_schema,
    traces_schema,
)


VERSION = "schema_version"
META = "meta.json"
RUNS_ENDING, TRACES_ENDING = ".runs.parquet", ".traces.parquet"
MERGED = "runs.parquet", "traces.parquet"
"""The files of all runs and of all traces."""

FOOTER = 2**17
"""Bytes in which the end of a shard's file, which says what it holds, has room."""

RUNS_OF_A_GROUP, RECORDS_OF_A_GROUP = 2**13, 2**16
"""Rows that a reader of the merged files skips or reads at once."""

FORMAT = {"compression": "zstd", "write_page_checksum": True}

Schema = Callable[[int], pa.Schema]
"""The schema that a table has in a version."""


class Tables(NamedTuple):
    """The two tables of a batch, or of a whole folder."""

    runs: pa.Table
    traces: pa.Table


class Inventory(NamedTuple):
    """What stands in a folder at one moment.

    `shards` are the batches that have a file of runs, each with what changes when it is written
    again; `merged` those in the merged files, or None if there are none, or no whole ones.
    """

    shards: dict[str, str]
    merged: dict[str, str] | None

    @property
    def base(self) -> dict[str, str]:
        """The batches that can be read from the merged files: all of these, if none has changed."""
        merged = self.merged or {}
        return merged if merged.items() <= self.shards.items() else {}


class DamagedFileError(SchemaError):
    """A parquet file that is cut, or that this library did not write."""


def shard_names(batch_id: str) -> tuple[str, str]:
    """The files of the runs and of the traces of a batch."""
    return f"shards/{batch_id}{RUNS_ENDING}", f"shards/{batch_id}{TRACES_ENDING}"


def take_inventory(place: Place) -> Inventory:
    """What stands in a folder now.

    Raises:
        SchemaError: the folder is of a newer version, or of none.
    """
    known = read_meta(place).get("merged")
    top, shards = place.entries(), _shards(place)
    if not all(name in top for name in MERGED):
        return Inventory(shards, None)
    if not isinstance(known, dict):  # of an older version, or a copy of the merged files alone
        return Inventory(shards, {})
    marks = {name: top[name] for name in MERGED}
    return Inventory(shards, known.get("shards") if known.get("files") == marks else {})


def _shards(place: Place) -> dict[str, str]:
    found = place.entries("shards")
    ids = sorted(n.removesuffix(RUNS_ENDING) for n in found if n.endswith(RUNS_ENDING))
    return {i: f"{found[i + RUNS_ENDING]} {found.get(i + TRACES_ENDING, '')}" for i in ids}


def remove_leftovers(place: Place) -> None:
    """Removes what a killed writer left: half-written files, and traces without their runs."""
    shards, whole = place.entries("shards"), _shards(place)
    for name in shards:
        batch_id = name.removesuffix(TRACES_ENDING)
        if name.endswith(".tmp") or (batch_id != name and batch_id not in whole):
            place.remove(f"shards/{name}")
    for name in place.entries().keys() & {f"{name}.tmp" for name in (META, *MERGED)}:
        place.remove(name)


def set_aside(place: Place, batch_id: str) -> None:
    """Renames the files of a batch to `*.corrupt`, so that its runs count as missing."""
    for name in shard_names(batch_id):
        place.rename(name, f"{name}.corrupt")


def read_meta(place: Place) -> dict[str, Any]:
    """What `meta.json` says; only the version of this library if there is no such file.

    Raises:
        SchemaError: a newer version, or no version at all.
    """
    try:
        meta = json.loads(place.read(META))
    except FileNotFoundError:
        return {VERSION: SCHEMA_VERSION}
    except ValueError:
        meta = None
    meta = meta if isinstance(meta, dict) else {}
    _check_version(meta.get(VERSION), place.path(META))
    return meta


def write_meta(place: Place, **more: Any) -> None:
    """Writes `meta.json`: the version of this library, and `more`.

    Raises:
        DoptError: the disk refuses.
    """
    text = json.dumps({VERSION: SCHEMA_VERSION} | more) + "\n"
    place.publish({META: lambda file: file.write(text.encode())})


def write_batch(place: Place, batch_id: str, tables: Tables) -> None:
    """Writes a batch; both of its files stand there in the end, or neither changed.

    A kill in between leaves traces without runs, never runs without traces.

    Raises:
        DoptError: the disk refuses (it is full, or read-only).
    """
    runs, traces = shard_names(batch_id)
    place.publish(
        {
            traces: lambda file: _write_parquet(tables.traces, file),
            runs: lambda file: _write_parquet(tables.runs, file),
        }
    )


def write_merged(place: Place, tables: Tables, shards: dict[str, str]) -> None:
    """Writes the merged files as `write_batch` does, and then that they hold these shards.

    Args:
        place: the folder.
        tables: all runs, and their traces in the order of the runs.
        shards: the batches, as an inventory has them.
    """
    runs, traces = MERGED
    place.publish(
        {
            traces: lambda file: _write_groups(tables, file),
            runs: lambda file: _write_parquet(tables.runs, file, RUNS_OF_A_GROUP),
        }
    )
    top = place.entries()
    write_meta(place, merged={"files": {name: top[name] for name in MERGED}, "shards": shards})


def read_batch(place: Place, batch_id: str) -> Tables:
    """The runs and the traces of a batch, with the checksums of their pages verified.

    What an older version wrote gets the columns that it did not have: a step size was its own
    factor, and accuracy was not measured.

    Raises:
        SchemaError: a file that a newer version wrote.
        DamagedFileError: a file that is cut, damaged, or not one of this library.
    """
    runs, traces = shard_names(batch_id)
    return Tables(_read(place, runs, runs_schema), _read(place, traces, traces_schema))


def read_merged(place: Place) -> Tables:
    """The runs and the traces in the merged files; raises as `read_batch`."""
    runs, traces = MERGED
    names = traces_schema().names
    return Tables(
        _read(place, runs, runs_schema), _read(place, traces, merged_traces_schema, names)
    )


def check_batch(place: Place, batch_id: str) -> pa.Table:
    """The runs of a batch with their statuses; raises as `read_batch`.

    Of the traces it reads only the end of the file, enough to see that it is cut.
    """
    runs, traces = shard_names(batch_id)
    with _damage(place, traces):
        end = io.BytesIO(place.tail(traces, FOOTER))
        _check_schema(place.path(traces), pq.read_schema(end), traces_schema)
    return read_statuses(place, runs)


def read_statuses(place: Place, name: str = MERGED[0]) -> pa.Table:
    """The columns `run_id` and `status` of a table of runs; raises as `read_batch`."""
    return _read(place, name, runs_schema, ["run_id", "status"])


def _read(place: Place, name: str, schema: Schema, columns: list[str] | None = None) -> pa.Table:
    """The table in a file, or these columns of it."""
    with _damage(place, name), place.open(name) as file:
        # Threads of Arrow may outlive the file, and abort the process if that is when it ends.
        parquet = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
        _check_schema(place.path(name), parquet.schema_arrow, schema)
        table = parquet.read(columns, use_threads=False)
    return _upgraded(table, schema(SCHEMA_VERSION), columns)


def _upgraded(table: pa.Table, schema: pa.Schema, columns: list[str] | None) -> pa.Table:
    """The table with the columns that its version did not have."""
    wanted = [field for field in schema if columns is None or field.name in columns]
    for place, field in enumerate(wanted):
        if field.name not in table.column_names:
            if field.name == "factor":
                values = table["step_size"]
            else:
                empty = None if field.nullable else math.nan
                values = pa.repeat(pa.scalar(empty, field.type), table.num_rows)
            table = table.add_column(place, field, values)
    return table


@contextmanager
def _damage(place: Place, name: str) -> Iterator[None]:
    """The faults of a parquet file become sentences."""
    try:
        yield
    except MemoryError:  # Arrow's is an ArrowException, but it says nothing about the file
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        # The system's own refusals (a disk that cannot be read) say nothing about the file.
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise DoptError(f"cannot read {place.path(name)}: {error.strerror}") from None
        raise DamagedFileError(f"{place.path(name)} cannot be read ({error})") from None


def _check_schema(path: str, found: pa.Schema, schema: Schema) -> None:
    version = (found.metadata or {}).get(VERSION.encode(), b"")
    if not version.isdigit():
        raise DamagedFileError(f"{path} names no schema version: it is not a file of this library")
    _check_version(int(version), path)
    if not found.equals(schema(int(version))):
        raise DamagedFileError(f"{path} does not have the columns of schema {int(version)}")


def _check_version(version: Any, path: str) -> None:
    if isinstance(version, int) and 1 <= version <= SCHEMA_VERSION:
        return
    if isinstance(version, int) and version > SCHEMA_VERSION:
        remedy = "update the package dopt-jax, or choose another folder"
    else:
        remedy = "the file is damaged: remove it, or choose another folder"
    raise SchemaError(
        f"{path} has schema version {version}, this library reads versions up to "
        f"{SCHEMA_VERSION}: {remedy}"
    )


def _write_parquet(table: pa.Table, file: io.BufferedIOBase, rows: int | None = None) -> None:
    stamped = table.replace_schema_metadata({VERSION: str(SCHEMA_VERSION)})
    pq.write_table(stamped, file, row_group_size=rows, **FORMAT)


def _write_groups(tables: Tables, file: io.BufferedIOBase) -> None:
    """Traces with columns of their runs, by which a reader can skip groups of rows.

    Each group names only the runs it has; a dictionary of all would stand in every group.
    """
    runs, traces = tables
    schema = merged_traces_schema().with_metadata({VERSION: str(SCHEMA_VERSION)})
    names = [runs[name].combine_chunks() for name in MERGED_COLUMNS]
    with pq.ParquetWriter(file, schema, **FORMAT) as writer:
        for start in range(0, max(1, traces.num_rows), RECORDS_OF_A_GROUP):
            group = traces.slice(start, RECORDS_OF_A_GROUP)
            ids = group["run_id"].combine_chunks()
            columns = {name: group[name] for name in traces_schema().names}
            columns["run_id"] = ids.cast(pa.string()).dictionary_encode()
            for name, values in zip(MERGED_COLUMNS, names, strict=True):
                columns[name] = pc.take(values, ids.indices)
            writer.write_table(pa.table([columns[name] for name in schema.names], schema=schema))
