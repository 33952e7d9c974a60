"""The writer of a results folder: one at a time, a batch of runs at a time, resumable."""

import logging
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from dopt.errors import ConfigurationError, DoptError
from dopt.results import files
from dopt.results.gather import gather, read_all
from dopt.results.places import Folder, Lock, place_at
from dopt.results.schema import Status
from dopt.results.tables import batch_tables


log = logging.getLogger("dopt")


class Store:
    """A results folder, open for writing: `with Store(folder) as store:`.

    Opening creates the folder, locks it until `close` (or until the process dies; at an address,
    until two minutes after that), removes what a killed writer left, and sets damaged shards aside
    with a warning: their runs count as missing.

    Args:
        folder: a path, or an address such as s3://bucket/folder.

    Raises:
        SchemaError: a folder that a newer version of the library wrote.
        DoptError: another process writes here, or the disk refuses.
    """

    def __init__(self, folder: Folder) -> None:
        self._place = place_at(folder)
        self.folder = self._place.where
        files.read_meta(self._place)
        self._lock: Lock | None = self._place.lock()
        try:
            files.remove_leftovers(self._place)
            self._adopt()
            self._survey()
            if files.META not in self._place.entries():
                files.write_meta(self._place)
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
            self._lock.release()
            self._lock = None

    def finished(self) -> set[str]:
        """The runs that need not run again: all but the interrupted and the failed."""
        return self._merged_final.union(*self._final.values())

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
        if batch_id in self._merged:
            self._survey(trusting=False)
        files.write_batch(self._place, batch_id, tables)
        self._final[batch_id] = _final(tables.runs)

    def merge(self) -> None:
        """Writes all batches to `runs.parquet` and `traces.parquet`, sorted, each run once.

        Without a batch there is nothing to write, and what was merged before stays.

        Raises:
            DoptError: the disk refuses; the shards are intact.
        """
        self._check_open()
        damaged: set[str] = set()

        def set_aside(batch_id: str, damage: files.DamagedFileError) -> None:
            self._set_aside(batch_id, damage)
            damaged.add(batch_id)

        inventory = files.take_inventory(self._place)
        tables = gather(self._place, inventory, set_aside)
        shards = {i: mark for i, mark in inventory.shards.items() if i not in damaged}
        if shards != inventory.merged and shards and tables is not None:
            files.write_merged(self._place, tables, shards)
        if damaged:
            self._survey()

    def _adopt(self) -> None:
        """Of a copy of the merged files alone makes a shard, so that its runs count and stay."""
        inventory = files.take_inventory(self._place)
        if inventory.merged is not None and not inventory.shards:
            try:
                files.write_batch(self._place, "merged", files.read_merged(self._place))
            except files.DamagedFileError as damage:
                log.warning("%s; its runs will run again", damage)

    def _survey(self, trusting: bool = True) -> None:
        """Learns which runs are final, by batch; of all batches that are merged at once."""
        inventory = files.take_inventory(self._place)
        self._merged: set[str] = set()
        self._merged_final: set[str] = set()
        if trusting and inventory.base:
            try:
                self._merged_final = _final(files.read_statuses(self._place))
                self._merged = set(inventory.base)
            except files.DamagedFileError as damage:
                log.warning("%s; the shards are read instead", damage)
        statuses = read_all(
            lambda batch_id: files.check_batch(self._place, batch_id),
            inventory.shards.keys() - self._merged,
            self._set_aside,
        )
        self._final = {batch_id: _final(runs) for batch_id, runs in statuses.items()}

    def _set_aside(self, batch_id: str, damage: files.DamagedFileError) -> None:
        log.warning("%s; its batch is renamed to *.corrupt and its runs will run again", damage)
        files.set_aside(self._place, batch_id)

    def _check_open(self) -> None:
        if self._lock is None:
            raise DoptError(f"the store of {self.folder} is closed; open it again to write")
        self._lock.check()


def _final(runs: Any) -> set[str]:
    columns = runs.select(["run_id", "status"]).to_pydict()
    pairs = zip(columns["run_id"], columns["status"], strict=True)
    return {run for run, status in pairs if Status(status).is_final}
