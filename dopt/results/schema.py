"""What a results folder holds: two tables, a closed list of statuses, and the name of a run."""

import hashlib
import json
import math
from enum import StrEnum
from functools import cache
from typing import Any

from dopt.errors import ConfigurationError


SCHEMA_VERSION = 3

RUNS_SINCE = {"theory_step_size": 2, "factor": 2}
TRACES_SINCE = {"accuracy": 2, "regime": 3, "method": 3, "phase": 3}
"""Columns that older versions do not have, and the version that brought them."""

PHASES = ("tune", "report")

NULLABLE = ("reason", "theory_step_size")
"""Columns of `runs` that may be empty, and left out by who writes them."""

MERGED_COLUMNS = ("regime", "method", "phase")
"""Columns of `runs` that the merged traces have as well."""


class Status(StrEnum):
    """How a run ended; `reason` says more where there is more to say."""

    FINISHED = "finished"
    TARGET_REACHED = "target_reached"
    DIVERGED = "diverged"
    NO_PROGRESS = "no_progress"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether running it again would only repeat it; otherwise a resumed study runs it."""
        return self not in (Status.INTERRUPTED, Status.FAILED)


def canonical_json(config: dict[str, Any]) -> str:
    """The one JSON text of `config`: sorted keys, no spaces, numbers as Python prints them.

    Raises:
        ConfigurationError: NaN, infinity, a key that is not a string, or a value that JSON does
            not have; the message gives its place.
    """
    _check_json(config, "config")
    return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_id(config: dict[str, Any]) -> str:
    """20 hexadecimal digits that depend on `config` alone, and change with any value in it.

    The version of the library and the device are no part of a config, so a run that is finished
    stays finished after an upgrade. `1` and `1.0` are different values.

    Raises:
        ConfigurationError: as `canonical_json`.
    """
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()[:20]


@cache
def runs_schema(version: int = SCHEMA_VERSION) -> Any:
    """The pyarrow schema of the table `runs`: one row a run.

    `step_size` is `factor` times `theory_step_size`, or `factor` alone where that is empty;
    `seconds` is wall time, `peak_memory` bytes; `versions` and `config` are JSON.
    """
    import pyarrow as pa

    types = {
        "run_id": pa.string(),
        "study": pa.string(),
        "regime": pa.string(),
        "method": pa.string(),
        "variant": pa.string(),
        "compressor": pa.string(),
        "problem": pa.string(),
        "cluster": pa.string(),
        "phase": pa.string(),
        "step_size": pa.float64(),
        "theory_step_size": pa.float64(),
        "factor": pa.float64(),
        "timeline_seed": pa.int64(),
        "data_seed": pa.int64(),
        "status": pa.string(),
        "reason": pa.string(),
        "seconds": pa.float64(),
        "peak_memory": pa.int64(),
        "versions": pa.string(),
        "device": pa.string(),
        "config": pa.string(),
    }
    there = [name for name in types if RUNS_SINCE.get(name, 1) <= version]
    return pa.schema([pa.field(n, types[n], nullable=n in NULLABLE) for n in there])


@cache
def traces_schema(version: int = SCHEMA_VERSION) -> Any:
    """The pyarrow schema of the table `traces`: one row a record point of a run.

    `time` is virtual seconds; `gradients` and the bits are totals since the start; `accuracy` is
    NaN where a problem has no classes.
    """
    import pyarrow as pa

    types = {
        "run_id": pa.dictionary(pa.int32(), pa.string()),
        "record": pa.int32(),
        "time": pa.float64(),
        "step": pa.int64(),
        "gradients": pa.int64(),
        "bits_up": pa.int64(),
        "bits_down": pa.int64(),
        "value": pa.float64(),
        "gap": pa.float64(),
        "grad_norm2": pa.float64(),
        "accuracy": pa.float64(),
    }
    there = [name for name in types if TRACES_SINCE.get(name, 1) <= version]
    return pa.schema([pa.field(n, types[n], nullable=False) for n in there])


@cache
def merged_traces_schema(version: int = SCHEMA_VERSION) -> Any:
    """That of the merged traces: with columns of their runs, by which a reader skips others.

    Rows are in the order of the runs, so a regime, or a method in it, is one stretch. These columns
    are plain text: pyarrow skips no groups of rows by the statistics of categories.
    """
    import pyarrow as pa

    there = [column for column in MERGED_COLUMNS if TRACES_SINCE[column] <= version]
    fields = list(traces_schema(version))
    fields[1:1] = [pa.field(column, pa.string(), nullable=False) for column in there]
    return pa.schema(fields)


def _check_json(value: Any, place: str) -> None:
    """Refuses at `place` what strict JSON would refuse, or would quietly turn into text."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigurationError(f"{place} has the key {key!r}; keys must be strings")
            _check_json(item, f"{place}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{place} = {value}; a config holds finite numbers only")
    elif not isinstance(value, str | int | float | None):
        raise ConfigurationError(
            f"{place} = {value!r} is a {type(value).__name__}; a config holds strings, Python "
            "numbers, booleans, None, lists and dicts only"
        )
