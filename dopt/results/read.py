"""The reader of a results folder: both tables as pandas data frames, without a lock."""

import logging
import os
from pathlib import Path

import pandas as pd

from dopt.errors import DataError
from dopt.results import files
from dopt.results.tables import combine


log = logging.getLogger("dopt")


def load(folder: str | os.PathLike[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs and the traces in `folder`, sorted, each run once; safe while a study writes there.

    The merged files serve if they hold every shard; otherwise the shards are read, and a damaged
    one is left out with a warning. `traces["run_id"]` is categorical.

    Raises:
        DataError: there are no results.
        SchemaError: a newer version wrote them, or the only files there are damaged.
    """
    folder = Path(folder)
    meta = files.read_meta(folder)
    batch_ids = files.batch_ids(folder)
    merged = files.merged_paths(folder)
    whole = not batch_ids or meta.get(files.MERGED) == files.shards_digest(folder)
    if whole and all(path.exists() for path in merged):
        try:
            return _frames(files.read_tables(merged))
        except files.DamagedFileError as damage:
            if not batch_ids:
                raise
            log.warning("%s; the shards are read instead", damage)
    batches = _batches(folder, batch_ids)
    if not batches:
        raise DataError(f"there are no results in {folder}; give the folder of a study that ran")
    return _frames(combine(batches))


def _frames(tables: files.Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    return tables.runs.to_pandas(), tables.traces.to_pandas()


def _batches(folder: Path, batch_ids: list[str]) -> dict[str, files.Tables]:
    batches = {}
    for batch_id in batch_ids:
        try:
            batches[batch_id] = files.read_tables(files.shard_paths(folder, batch_id))
        except files.DamagedFileError as damage:
            log.warning("%s; its batch is left out", damage)
    return batches
