import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.results import Status
from dopt.results.schema import runs_schema, traces_schema
from dopt.results.tables import batch_tables, combine


def test_tables_have_the_schema_and_the_values(make_runs, make_traces):
    rows = make_runs(1, 2)
    rows[0]["reason"] = "target at record 2"
    columns = make_traces(rows)
    tables = batch_tables(rows, columns)
    assert tables.runs.schema == runs_schema()
    assert tables.traces.schema == traces_schema()
    assert tables.runs.to_pylist() == rows
    for name, values in columns.items():
        np.testing.assert_array_equal(tables.traces[name].to_pylist(), values)


def test_reason_may_be_left_out_and_columns_may_be_lists_or_jax_arrays(make_runs, make_traces):
    rows = make_runs(1)
    columns = make_traces(rows)
    expected = batch_tables(rows, columns)
    del rows[0]["reason"]
    columns["run_id"] = columns["run_id"].tolist()
    columns["time"] = columns["time"].tolist()
    columns["value"] = jnp.asarray(columns["value"], dtype=jnp.float32)
    assert batch_tables(rows, columns).runs == expected.runs
    assert batch_tables(rows, columns).traces["value"] == expected.traces["value"]


def test_a_batch_may_have_no_traces(make_runs, make_traces):
    failed = make_runs(1, status=Status.FAILED, reason="out of memory")
    tables = batch_tables(failed, make_traces([]))
    assert (tables.runs.num_rows, tables.traces.num_rows) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "done"}, "status = 'done'; it must be one of finished, target_reached"),
        ({"phase": "test"}, "phase = 'test'; it must be one of tune, report"),
        ({"speed": 3}, "unknown: speed"),
        ({"step_size": "0.1"}, "column step_size must be double"),
        ({"data_seed": 0.5}, "column data_seed must be int64: .*truncated"),
        ({"peak_memory": "2"}, "column peak_memory must be int64: '2' is not"),
        ({"data_seed": 2**63}, "column data_seed must be int64"),
        ({"method": None}, "column method has no value in 1 rows"),
        ({"method": 7}, "column method must be string"),
    ],
)
def test_wrong_runs_are_refused(make_runs, make_traces, changes, message):
    rows = make_runs(1)
    with pytest.raises(ConfigurationError, match=message):
        batch_tables([rows[0] | changes], make_traces(rows))


def test_a_missing_column_and_a_run_named_twice_are_refused(make_runs, make_traces):
    rows = make_runs(1)
    incomplete = {name: value for name, value in rows[0].items() if name != "device"}
    with pytest.raises(ConfigurationError, match="missing: device, unknown: none"):
        batch_tables([incomplete], make_traces(rows))
    with pytest.raises(ConfigurationError, match=f"run '{rows[0]['run_id']}' stands twice"):
        batch_tables(rows * 2, make_traces(rows))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": np.zeros(3)}, "missing: none, unknown: loss"),
        ({"step": np.zeros(2, dtype=int)}, r"differ in length: .*step \(2,\)"),
        ({"run_id": ["stranger"] * 3}, "traces of 'stranger', which is no run of this batch"),
        ({"record": np.full(3, 2**31)}, "column record must be int32"),
        ({"step": np.array([0.0, 0.5, 1.0])}, "column step must be int64"),
    ],
)
def test_wrong_traces_are_refused(make_runs, make_traces, changes, message):
    rows = make_runs(1)
    with pytest.raises(ConfigurationError, match=message):
        batch_tables(rows, make_traces(rows) | changes)


def test_combining_does_not_depend_on_how_runs_were_batched(make_runs, make_traces):
    rows = make_runs(*range(6))
    whole = combine({"all": batch_tables(rows, make_traces(rows))})
    for cut in (1, 3, 5):
        parts = {"b": rows[:cut], "a": rows[cut:][::-1]}
        again = combine({b: batch_tables(part, make_traces(part)) for b, part in parts.items()})
        assert again.runs == whole.runs
        drop = ["bits_up", "gap"]  # numbered within a batch; NaN is not equal to itself
        assert again.traces.drop_columns(drop) == whole.traces.drop_columns(drop)


def test_combined_tables_are_sorted(make_runs, make_traces):
    rows = [*make_runs(4, 2, method="b"), *make_runs(3, 1, method="a")]
    tables = combine({"x": batch_tables(rows, make_traces(rows))})
    assert tables.runs["method"].to_pylist() == ["a", "a", "b", "b"]
    assert tables.runs["step_size"].to_pylist() == [2.0**-k for k in (3, 1, 4, 2)]
    places = list(zip(*(tables.traces[c].to_pylist() for c in ("run_id", "record")), strict=True))
    assert places == list(itertools.product(tables.runs["run_id"].to_pylist(), range(3)))
    assert tables.traces["run_id"].chunk(0).dictionary.to_pylist() == [
        row["run_id"] for row in (rows[2], rows[3], rows[0], rows[1])
    ]


def test_a_repeated_run_is_taken_once_from_its_first_final_batch(make_runs, make_traces):
    for statuses in itertools.product(Status, repeat=3):
        batches = {}
        for place, (batch_id, status) in enumerate(zip("abc", statuses, strict=True)):
            rows = make_runs(1, status=status)
            batches[batch_id] = batch_tables(rows, make_traces(rows, shift=100.0 * place))
        final = [place for place, status in enumerate(statuses) if status.is_final]
        expected = final[0] if final else 0
        tables = combine(batches)
        assert tables.runs["status"].to_pylist() == [statuses[expected]]
        assert tables.traces["value"].to_pylist() == [1.0 + 100.0 * expected] * 3
