import json
import logging
import math
import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest

from dopt.errors import DataError, SchemaError
from dopt.results.read import load
from dopt.results.schema import MERGED_COLUMNS, SCHEMA_VERSION
from dopt.results.store import Store


@pytest.fixture
def study(tmp_path, make_runs, make_traces):
    """A folder with two batches, merged."""
    with Store(tmp_path) as store:
        for batch_id, numbers in {"a": (1, 2), "b": (3,)}.items():
            rows = make_runs(*numbers)
            store.write(batch_id, rows, make_traces(rows))
        store.merge()
    return tmp_path


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_merged_files_shards_and_a_lone_copy_give_the_same(study):
    merged = load(study)
    assert len(merged[0]) == 3
    assert len(merged[1]) == 9
    for name in ("runs.parquet", "traces.parquet"):
        shutil.copy(study / name, study / f"{name}.kept")
        (study / name).unlink()
    assert_same(load(study), merged)
    shutil.rmtree(study / "shards")
    (study / "meta.json").unlink()
    for name in ("runs.parquet", "traces.parquet"):
        (study / f"{name}.kept").rename(study / name)
    assert_same(load(study), merged)


def test_merged_files_that_miss_a_shard_are_not_used(study, make_runs, make_traces):
    rows = make_runs(7)
    with Store(study) as store:
        store.write("c", rows, make_traces(rows))
        assert rows[0]["run_id"] in set(load(study)[0]["run_id"])
    assert len(load(study)[0]) == 4


def test_merged_files_serve_without_a_look_at_the_shards(study, monkeypatch):
    def refuse(*_):
        raise AssertionError("the shards were read")

    monkeypatch.setattr("dopt.results.gather.combine", refuse)
    assert len(load(study)[0]) == 3


def test_a_damaged_merged_file_falls_back_to_the_shards(study, caplog):
    merged = load(study)
    (study / "traces.parquet").write_bytes(b"PAR1")
    with caplog.at_level(logging.WARNING):
        assert_same(load(study), merged)
    assert "the shards are read instead" in caplog.text
    shutil.rmtree(study / "shards")
    with pytest.raises(SchemaError, match=r"traces.parquet cannot be read"):
        load(study)


def test_traces_join_runs(study):
    runs, traces = load(study)
    joined = traces.astype({"run_id": str}).merge(runs.astype({"run_id": str}), on="run_id")
    assert (joined["value"] == joined["data_seed"]).all()
    assert len(joined) == 9
    assert isinstance(traces["run_id"].dtype, pd.CategoricalDtype)


def test_a_folder_without_results_is_a_sentence(tmp_path):
    with Store(tmp_path / "empty"):
        pass
    for folder in (tmp_path / "empty", tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match="there are no results in"):
            load(folder)


NEWER = {1: ("theory_step_size", "factor", "accuracy"), 2: ()}
"""Columns of shards that a version did not have."""


def older(path, version):
    """Rewrites a parquet file as an older version had it."""
    table = pq.read_table(path)
    newer = [*NEWER[version], *(MERGED_COLUMNS if path.name == "traces.parquet" else ())]
    table = table.drop_columns([name for name in newer if name in table.column_names])
    pq.write_table(table.replace_schema_metadata({"schema_version": str(version)}), path)


@pytest.mark.parametrize("shards", [True, False], ids=["whole", "merged files alone"])
@pytest.mark.parametrize("version", [1, 2])
def test_an_older_folder_is_read_and_continued(study, make_runs, make_traces, version, shards):
    """In version 1 step sizes were their own factors; there was no theory, and no accuracy."""
    runs, traces = load(study)
    for path in study.rglob("*.parquet"):
        older(path, version)
    (study / "meta.json").write_text(
        json.dumps({"schema_version": version, "merged": "a digest of the shards"})
    )
    if not shards:
        shutil.rmtree(study / "shards")
    if version == 1:
        runs = runs.assign(theory_step_size=math.nan, factor=runs["step_size"])
        traces = traces.assign(accuracy=math.nan)
    assert_same(load(study), (runs, traces))
    with Store(study) as store:
        assert store.finished() == set(runs["run_id"])
        rows = make_runs(7)
        store.write("c", rows, make_traces(rows))
        store.merge()
    assert json.loads((study / "meta.json").read_text())["schema_version"] == SCHEMA_VERSION
    assert set(load(study)[0]["run_id"]) == {*runs["run_id"], rows[0]["run_id"]}


def test_a_file_of_version_1_with_columns_of_version_2_is_damaged(study, caplog):
    path = study / "shards" / "a.traces.parquet"
    metadata = {"schema_version": "1"}
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    (study / "meta.json").unlink()
    assert len(load(study)[0]) == 1
    assert "does not have the columns of schema 1" in caplog.text
