"""The two tables in memory: built from a batch of runs, and combined from many batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dopt.errors import ConfigurationError
from dopt.results.files import Tables
from dopt.results.schema import NULLABLE, PHASES, Status, runs_schema, traces_schema


IntArray = npt.NDArray[np.integer]

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

    Runs are in the reading order, and traces in that of their runs, whose names are the categories
    of `run_id`. A run that stands in several batches is taken, with its traces, from the first
    where it is final, else from the first.
    """
    ids = sorted(batches)
    of_run = np.repeat(np.arange(len(ids)), [len(batches[i].runs) for i in ids])
    of_record = np.repeat(np.arange(len(ids)), [len(batches[i].traces) for i in ids])
    runs = pa.concat_tables([runs_schema().empty_table(), *(batches[i].runs for i in ids)])
    kept = _kept(runs, of_run)
    runs, of_run = runs.combine_chunks().take(pa.array(kept)), of_run[kept]
    order = pc.sort_indices(runs, [(name, "ascending") for name in READING_ORDER])
    runs, of_run = runs.take(order), of_run[order.to_numpy()]

    traces = pa.concat_tables([traces_schema().empty_table(), *(batches[i].traces for i in ids)])
    names = runs["run_id"].combine_chunks()
    rank = _ranks(traces["run_id"], names)
    mine = (rank >= 0) & (of_run[rank] == of_record) if len(of_run) else np.zeros(0, bool)
    rows = np.flatnonzero(mine)
    rows = rows[np.lexsort((traces["record"].to_numpy()[rows], rank[rows]))]
    sorted_traces = traces.drop_columns("run_id").combine_chunks().take(pa.array(rows))
    column = pa.DictionaryArray.from_arrays(pa.array(rank[rows], pa.int32()), names)
    return Tables(runs, sorted_traces.add_column(0, traces_schema().field("run_id"), column))


def _kept(runs: pa.Table, batch: IntArray) -> IntArray:
    """Of each run the row that counts; the rows of batches stand in the order of their names."""
    _, run = np.unique(runs["run_id"].to_numpy(), return_inverse=True)
    final = pc.is_in(runs["status"], pa.array([s for s in Status if s.is_final])).to_numpy()
    order = np.lexsort((batch, ~final, run))
    first = np.ones(len(order), bool)
    first[1:] = run[order][1:] != run[order][:-1]
    return order[first]


def _ranks(column: pa.ChunkedArray, names: pa.Array) -> IntArray:
    """The place in `names` of every value, -1 where it has none."""
    dictionaries = pa.chunked_array([chunk.dictionary for chunk in column.chunks], pa.string())
    places = pc.fill_null(pc.index_in(dictionaries, names), -1).to_numpy()
    found, start = [np.zeros(0, np.int64)], 0
    for chunk in column.chunks:
        found.append(places[start + chunk.indices.to_numpy()])
        start += len(chunk.dictionary)
    return np.concatenate(found)


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
