"""The reader of a results folder: both tables as pandas data frames, without a lock."""

import pandas as pd

from dopt.errors import DataError
from dopt.results.files import take_inventory
from dopt.results.gather import gather, leave_out
from dopt.results.places import Folder, place_at


def load(folder: Folder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs and the traces in `folder`, sorted, each run once; safe while a study writes there.

    Traces are in the order of the runs: the codes of the categorical `traces["run_id"]` are rows
    of the runs. What the merged files hold is read from there, the rest from the shards, and a
    damaged one is left out with a warning.

    Of a large folder one may read a part, as the merged files also say the regime, method and phase
    of every record: `pandas.read_parquet(".../traces.parquet", filters=[("method", "==", "mvr")])`.

    Args:
        folder: a path, or an address such as s3://bucket/folder.

    Raises:
        DataError: there are no results.
        SchemaError: a newer version wrote them, or the only files there are damaged.
        DoptError: they cannot be read.
    """
    place = place_at(folder)
    tables = gather(place, take_inventory(place), leave_out)
    if tables is None:
        raise DataError(f"there are no results in {folder}; give the folder of a study that ran")
    return tables.runs.to_pandas(), tables.traces.to_pandas()
