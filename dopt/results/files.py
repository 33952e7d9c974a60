"""The files of a results folder: written whole or not at all, and read with suspicion.

meta.json                       the version of the schema; which shards the merged files hold
shards/<batch>.traces.parquet   one batch of runs; the `runs` file takes its name last,
shards/<batch>.runs.parquet     so where it stands its traces stand too
runs.parquet, traces.parquet    all shards in one, made by `Store.merge`; may be deleted
"""

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dopt.errors import DoptError, SchemaError
from dopt.results.schema import SCHEMA_VERSION, SINCE, runs_schema, traces_schema


VERSION = "schema_version"
MERGED = "merged"


class Tables(NamedTuple):
    """The two tables of a batch, or of a whole folder."""

    runs: pa.Table
    traces: pa.Table


class DamagedFileError(SchemaError):
    """A parquet file that is cut, or that this library did not write."""


def meta_path(folder: Path) -> Path:
    """Where the version of the schema is."""
    return folder / "meta.json"


def merged_paths(folder: Path) -> tuple[Path, Path]:
    """The files of all runs and of all traces."""
    return folder / "runs.parquet", folder / "traces.parquet"


def shard_paths(folder: Path, batch_id: str) -> tuple[Path, Path]:
    """The files of the runs and of the traces of a batch."""
    shards = folder / "shards"
    return shards / f"{batch_id}.runs.parquet", shards / f"{batch_id}.traces.parquet"


def batch_ids(folder: Path) -> list[str]:
    """The batches that have a file of runs, sorted."""
    ending = ".runs.parquet"
    return sorted(p.name.removesuffix(ending) for p in (folder / "shards").glob(f"*{ending}"))


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed writer left: half-written files, and traces without their runs."""
    whole = set(batch_ids(folder))
    orphans = [
        path
        for path in (folder / "shards").glob("*.traces.parquet")
        if path.name.removesuffix(".traces.parquet") not in whole
    ]
    ours = [_temporary(path) for path in (meta_path(folder), *merged_paths(folder))]
    for path in (*orphans, *ours, *(folder / "shards").glob("*.tmp")):
        path.unlink(missing_ok=True)


def set_aside(folder: Path, batch_id: str) -> None:
    """Renames the files of a batch to `*.corrupt`, so that its runs count as missing."""
    for path in shard_paths(folder, batch_id):
        with _sentence(path), suppress(FileNotFoundError):
            os.replace(path, path.with_name(path.name + ".corrupt"))


def shards_digest(folder: Path) -> str:
    """Changes when a batch is written, written again, or removed."""
    digest = hashlib.sha256()
    for batch_id in batch_ids(folder):
        with suppress(FileNotFoundError):  # a reader may meet a batch that is being replaced
            stat = shard_paths(folder, batch_id)[0].stat()
            digest.update(f"{batch_id}/{stat.st_size}/{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def read_meta(folder: Path) -> dict[str, Any]:
    """What `meta.json` says; only the version of this library if there is no such file.

    Raises:
        SchemaError: a newer version, or no version at all.
    """
    path = meta_path(folder)
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {VERSION: SCHEMA_VERSION}
    except OSError as error:
        raise DoptError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        meta = None
    meta = meta if isinstance(meta, dict) else {}
    _check_version(meta.get(VERSION), path)
    return meta


def write_meta(folder: Path, **more: str) -> None:
    """Writes `meta.json`: the version of this library, and `more`.

    Raises:
        DoptError: the disk refuses.
    """
    path = meta_path(folder)
    text = json.dumps({VERSION: SCHEMA_VERSION} | more) + "\n"
    _stage(path, lambda file: file.write(text.encode()))
    _publish(path)


def write_tables(paths: tuple[Path, Path], tables: Tables) -> None:
    """Writes the runs and the traces to `paths`; both stand there in the end, or neither changed.

    A kill between the two renames leaves traces without runs, never runs without traces.

    Raises:
        DoptError: the disk refuses (it is full, or read-only).
    """
    runs, traces = paths
    try:
        _stage(traces, lambda file: _write_parquet(tables.traces, file))
        _stage(runs, lambda file: _write_parquet(tables.runs, file))
        with _sentence(runs):
            if runs.exists():  # old runs must not be seen beside new traces
                runs.unlink()
                _sync_folder(runs.parent)
        _publish(traces)
        _publish(runs)
    finally:
        _temporary(traces).unlink(missing_ok=True)
        _temporary(runs).unlink(missing_ok=True)


def read_tables(paths: tuple[Path, Path]) -> Tables:
    """The runs and the traces in `paths`, with the checksums of their pages verified.

    What an older version wrote gets the columns that it did not have: a step size was its own
    factor, and accuracy was not measured.

    Raises:
        SchemaError: a file that a newer version wrote.
        DamagedFileError: a file that is cut, damaged, or not one of this library.
    """
    runs, traces = paths
    return Tables(read_runs(runs), _read(traces, traces_schema()))


def read_runs(path: Path) -> pa.Table:
    """The table of runs in `path`; raises as `read_tables`."""
    return _read(path, runs_schema())


def check_footer(path: Path) -> None:
    """Raises as `read_tables`, but reads only the end of the file: enough to see that it is cut."""
    with _parquet(path) as parquet:
        _check_schema(path, parquet.schema_arrow, traces_schema())


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    with _parquet(path) as parquet:
        _check_schema(path, parquet.schema_arrow, schema)
        return _upgraded(parquet.read(), schema)


def _upgraded(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns that its version did not have."""
    for place, field in enumerate(schema):
        if field.name not in table.column_names:
            if field.name == "factor":
                values = table["step_size"]
            else:
                empty = None if field.nullable else math.nan
                values = pa.repeat(pa.scalar(empty, field.type), table.num_rows)
            table = table.add_column(place, field, values)
    return table


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """The open parquet file, whose faults become sentences."""
    try:
        with path.open("rb") as file:
            # Threads that read ahead may outlive the file and abort the process at its exit.
            yield pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
    except MemoryError:  # Arrow's is an ArrowException, but it says nothing about the file
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        # The system's own refusals (permissions, too many open files) say nothing about the file.
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise DoptError(f"cannot read {path}: {error.strerror}") from None
        raise DamagedFileError(f"{path} cannot be read ({error})") from None


def _check_schema(path: Path, found: pa.Schema, expected: pa.Schema) -> None:
    version = (found.metadata or {}).get(VERSION.encode(), b"")
    if not version.isdigit():
        raise DamagedFileError(f"{path} names no schema version: it is not a file of this library")
    _check_version(int(version), path)
    there = [field for field in expected if SINCE.get(field.name, 1) <= int(version)]
    if not found.equals(pa.schema(there)):
        raise DamagedFileError(f"{path} does not have the columns of schema {int(version)}")


def _check_version(version: Any, path: Path) -> None:
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


def _write_parquet(table: pa.Table, file: BinaryIO) -> None:
    stamped = table.replace_schema_metadata({VERSION: str(SCHEMA_VERSION)})
    pq.write_table(stamped, file, compression="zstd", write_page_checksum=True)


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def _stage(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Lets `write` fill the temporary file of `path`, and waits until it is on the disk."""
    temporary = _temporary(path)
    try:
        with _sentence(path), temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _publish(path: Path) -> None:
    """Gives the temporary file of `path` its name, for good."""
    with _sentence(path):
        os.replace(_temporary(path), path)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes renames in `folder` survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    """What the disk refuses, as an error that a person can act on."""
    try:
        yield
    except OSError as error:
        raise DoptError(
            f"cannot write {path}: {error.strerror or error}; the batches that were written before "
            "are intact: free space, or make the folder writable, and resume"
        ) from error
