"""The writer of a results folder: one at a time, a batch of runs at a time, resumable."""

import fcntl
import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from dopt.errors import ConfigurationError, DoptError
from dopt.results import files
from dopt.results.schema import Status
from dopt.results.tables import batch_tables, combine


log = logging.getLogger("dopt")


class Store:
    """A results folder, open for writing: `with Store(folder) as store:`.

    Opening creates the folder, locks it until `close` (or until the process dies), removes what a
    killed writer left, and sets damaged shards aside with a warning: their runs count as missing.

    Raises:
        SchemaError: a folder that a newer version of the library wrote.
        DoptError: another process writes here, or the disk refuses.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._lock: int | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.folder)
            files.read_meta(self.folder)
            (self.folder / "shards").mkdir(exist_ok=True)
            files.remove_leftovers(self.folder)
            self._final = self._survey()
            if not files.meta_path(self.folder).exists():
                files.write_meta(self.folder)
        except OSError as error:
            self.close()
            raise DoptError(
                f"cannot write in {folder}: {error.strerror}; choose another folder"
            ) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process write here."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def finished(self) -> set[str]:
        """The runs that need not run again: all but the interrupted and the failed."""
        return set().union(*self._final.values())

    def write(
        self, batch_id: str, runs: Sequence[Mapping[str, Any]], traces: Mapping[str, Any]
    ) -> None:
        """Adds a batch of runs, or replaces the batch of that name; all of it or nothing.

        Args:
            batch_id: a file name: letters, digits, `-`, `_` and `.`, not `.` first.
            runs: one mapping a run, with the columns of `runs_schema` (`reason` may be left out).
            traces: one sequence for each column of `traces_schema`, a row a record point.

        Raises:
            ConfigurationError: a bad name, or rows that are not of the schema.
            DoptError: the disk refuses; what was written before is intact.
        """
        self._check_open()
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", batch_id):
            raise ConfigurationError(
                f"batch_id = {batch_id!r} is no file name; give at most 200 letters, digits, "
                "'-', '_' and '.', and not '.' first"
            )
        tables = batch_tables(runs, traces)
        files.write_tables(files.shard_paths(self.folder, batch_id), tables)
        self._final[batch_id] = _final(tables.runs)

    def merge(self) -> None:
        """Writes all batches to `runs.parquet` and `traces.parquet`, sorted, each run once.

        Without a batch there is nothing to write, and what was merged before stays.

        Raises:
            DoptError: the disk refuses; the shards are intact.
        """
        self._check_open()
        batches = {}
        for batch_id in list(self._final):
            try:
                batches[batch_id] = files.read_tables(files.shard_paths(self.folder, batch_id))
            except files.DamagedFileError as damage:
                self._set_aside(batch_id, damage)
                del self._final[batch_id]
        if batches:
            files.write_tables(files.merged_paths(self.folder), combine(batches))
            files.write_meta(self.folder, **{files.MERGED: files.shards_digest(self.folder)})

    def _survey(self) -> dict[str, set[str]]:
        """The final runs of each batch."""
        final = {}
        for batch_id in files.batch_ids(self.folder):
            runs, traces = files.shard_paths(self.folder, batch_id)
            try:
                files.check_footer(traces)
                final[batch_id] = _final(files.read_runs(runs))
            except files.DamagedFileError as damage:
                self._set_aside(batch_id, damage)
        return final

    def _set_aside(self, batch_id: str, damage: Exception) -> None:
        log.warning("%s; its batch is renamed to *.corrupt and its runs will run again", damage)
        files.set_aside(self.folder, batch_id)

    def _check_open(self) -> None:
        if self._lock is None:
            raise DoptError(f"the store of {self.folder} is closed; open it again to write")


def _final(runs: Any) -> set[str]:
    columns = runs.select(["run_id", "status"]).to_pydict()
    pairs = zip(columns["run_id"], columns["status"], strict=True)
    return {run for run, status in pairs if Status(status).is_final}


def _lock(folder: Path) -> int:
    """The open lock file; the system frees it when the process dies, however it dies."""
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode(errors="replace") or "(unknown)"
        os.close(lock)
        raise DoptError(
            f"process {holder} is writing to {folder}; "
            "wait for it, stop it, or choose another folder"
        ) from None
    with suppress(OSError):  # on a full disk the lock holds all the same, only without its name
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock
