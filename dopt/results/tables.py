"""The two tables in memory: built from a batch of runs, and combined from many batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dopt.errors import ConfigurationError
from dopt.results.files import Tables
from dopt.results.schema import NULLABLE, PHASES, Status, runs_schema, traces_schema


READING_ORDER = (
    *("study", "regime", "problem", "cluster", "method", "variant", "compressor"),
    *("phase", "step_size", "timeline_seed", "data_seed", "run_id"),
)


def batch_tables(runs: Sequence[Mapping[str, Any]], traces: Mapping[str, Any]) -> Tables:
    """The tables of a batch, from one mapping a run and one sequence a column of traces.

    Raises:
        ConfigurationError: a column that is missing, unknown, of another type or length; an
            unknown status or phase; a run named twice; traces of a run that is not in the batch.
    """
    for row in runs:
        _check_names("run", row.keys() | set(NULLABLE), runs_schema())
        _check_choice("status", row["status"], list(Status))
        _check_choice("phase", row["phase"], list(PHASES))
    ids = [row["run_id"] for row in runs]
    if len(set(ids)) < len(ids):
        twice = next(run for run in ids if ids.count(run) > 1)
        raise ConfigurationError(f"run {twice!r} stands twice in one batch; write it once")
    _check_names("traces", traces.keys(), traces_schema())
    arrays = {name: np.asarray(values) for name, values in traces.items()}
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ConfigurationError(f"the columns of traces differ in length: {shapes}")
    arrays["run_id"] = arrays["run_id"].astype(str)
    strangers = set(np.unique(arrays["run_id"]).tolist()) - set(ids)
    if strangers:
        raise ConfigurationError(f"traces of {min(strangers)!r}, which is no run of this batch")
    columns = {name: [row.get(name) for row in runs] for name in runs_schema().names}
    return Tables(_table(columns, runs_schema()), _table(arrays, traces_schema()))


def combine(batches: Mapping[str, Tables]) -> Tables:
    """All batches in one, sorted: the result does not depend on how runs were batched.

    A run that stands in several batches is taken, with its traces, from the first where it is
    final, else from the first.
    """
    home: dict[str, tuple[bool, str]] = {}
    for batch_id in sorted(batches):
        columns = batches[batch_id].runs.select(["run_id", "status"]).to_pydict()
        for run, status in zip(columns["run_id"], columns["status"], strict=True):
            final = Status(status).is_final
            if run not in home or final > home[run][0]:
                home[run] = (final, batch_id)
    order = pa.array(sorted(home), pa.string())
    runs = [runs_schema().empty_table()]
    traces = [_ranked(traces_schema().empty_table(), order)]
    for batch_id, batch in batches.items():
        here = pa.array([run for run in home if home[run][1] == batch_id], pa.string())
        runs.append(batch.runs.filter(pc.is_in(batch.runs["run_id"], here)))
        ranked = _ranked(batch.traces, order)
        traces.append(ranked.filter(pc.is_in(ranked["rank"], pc.index_in(here, order))))
    by_rank = pa.concat_tables(traces).sort_by([("rank", "ascending"), ("record", "ascending")])
    names = pa.DictionaryArray.from_arrays(by_rank["rank"].combine_chunks(), order)
    return Tables(
        pa.concat_tables(runs).sort_by([(name, "ascending") for name in READING_ORDER]),
        by_rank.drop_columns("rank").add_column(0, traces_schema().field("run_id"), names),
    )


def _ranked(traces: pa.Table, order: pa.Array) -> pa.Table:
    """`traces` with the place of its run in `order` for its name: integers sort fast."""
    rank = pc.index_in(traces["run_id"].cast(pa.string()), order)
    return traces.drop_columns("run_id").append_column("rank", rank)


def _check_names(what: str, found: Any, schema: pa.Schema) -> None:
    missing = [name for name in schema.names if name not in found]
    unknown = sorted(set(found) - set(schema.names))
    if missing or unknown:
        raise ConfigurationError(
            f"the columns of a {what} table are {', '.join(schema.names)}; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
        )


def _check_choice(column: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{column} = {value!r}; it must be one of {', '.join(choices)}")


def _table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    return pa.table([_column(columns[field.name], field) for field in schema], schema=schema)


def _column(values: Any, field: pa.Field) -> pa.Array:
    """`values` as `field`, without a loss: 0.5 is no integer, "0.5" no number, 7 no text."""
    encoded = pa.types.is_dictionary(field.type)
    wanted = field.type.value_type if encoded else field.type
    try:
        found = pa.array(values)  # given the type, Arrow would round 0.5 down to an integer
        if found.null_count < len(found) and (found.type == pa.string()) != (wanted == pa.string()):
            raise TypeError(f"{found.drop_null()[0].as_py()!r} is not")
        array = found.cast(wanted)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"column {field.name} must be {wanted}: {error}") from None
    if array.null_count and not field.nullable:
        raise ConfigurationError(f"column {field.name} has no value in {array.null_count} rows")
    return array.dictionary_encode() if encoded else array
