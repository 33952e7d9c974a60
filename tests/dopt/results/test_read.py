import json
import logging
import math
import os
import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyarrow.dataset import dataset, field

from dopt.errors import DataError, SchemaError
from dopt.results.files import read_batch, read_merged
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
    path = study / "traces.parquet"
    data, stat = bytearray(path.read_bytes()), path.stat()
    data[60] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a disk that forgot a bit
    with caplog.at_level(logging.WARNING):
        assert_same(load(study), merged)
    assert "the shards are read instead" in caplog.text
    path.write_bytes(b"PAR1")
    assert_same(load(study), merged)
    shutil.rmtree(study / "shards")
    with pytest.raises(SchemaError, match=r"traces.parquet cannot be read"):
        load(study)


def test_merged_files_serve_beside_later_shards(folder, put, monkeypatch):
    """Of a folder that grew, only what came later is read from shards; the result is the same."""
    with Store(folder) as store:
        put(store, "b", 3, 1)
        store.merge()
        put(store, "a", 2)
        read = []
        whole = load(folder)
        monkeypatch.setattr(
            "dopt.results.gather.read_batch",
            lambda place, batch_id: read.append(batch_id) or read_batch(place, batch_id),
        )
        assert_same(load(folder), whole)
        assert read == ["a"]
        store.merge()
        assert read == ["a"] * 2
        assert_same(load(folder), whole)
        store.merge()
        assert read == ["a"] * 2


def test_merged_files_that_are_replaced_while_they_are_read_are_not_used(folder, put, monkeypatch):
    with Store(folder) as store:
        put(store, "a", 1)
        store.merge()

        def meet_a_writer(place):
            old = read_merged(place)
            monkeypatch.undo()
            put(store, "b", 2)
            store.merge()
            return old._replace(traces=read_merged(place).traces)

        monkeypatch.setattr("dopt.results.gather.read_merged", meet_a_writer)
        runs, traces = load(folder)
    assert runs["data_seed"].tolist() == [1]
    assert traces["run_id"].unique().tolist() == runs["run_id"].tolist()


def test_a_damaged_copy_of_the_merged_files_alone_is_run_again(study, caplog):
    shutil.rmtree(study / "shards")
    (study / "traces.parquet").write_bytes(b"PAR1")
    with Store(study) as store:
        assert store.finished() == set()
    assert "its runs will run again" in caplog.text


def test_a_run_that_comes_again_is_taken_as_if_nothing_had_been_merged(folder, put):
    with Store(folder) as store:
        put(store, "b", 3, 1, shift=1.0)
        store.merge()
        put(store, "a", 1)
        store.merge()
    runs, traces = load(folder)
    numbers = dict(zip(runs["run_id"], runs["data_seed"], strict=True))
    values = {
        numbers[run]: rows.unique().tolist() for run, rows in traces.groupby("run_id")["value"]
    }
    assert values == {1: [1.0], 3: [4.0]}


def test_a_batch_replaced_after_merging_leaves_no_old_run(folder, put):
    with Store(folder) as store:
        put(store, "a", 1, 2)
        store.merge()
    with Store(folder) as store:
        new = put(store, "a", 2, shift=1.0)
        assert store.finished() == new
        assert set(load(folder)[0]["run_id"]) == new
        store.merge()
    assert set(load(folder)[0]["run_id"]) == new
    assert load(folder)[1]["value"].unique().tolist() == [3.0]


def test_a_kill_between_the_merged_files_and_their_list_counts_nothing_twice(
    folder, put, monkeypatch
):
    with Store(folder) as store:
        put(store, "a", 1)
        store.merge()
        put(store, "b", 2)

        def killed(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("dopt.results.files.write_meta", killed)
            with pytest.raises(KeyboardInterrupt):
                store.merge()
        put(store, "c", 3)
    assert sorted(load(folder)[0]["data_seed"]) == [1, 2, 3]
    with Store(folder) as store:
        assert len(store.finished()) == 3
        store.merge()
    assert sorted(load(folder)[0]["data_seed"]) == [1, 2, 3]
    assert len(load(folder)[1]) == 9


def test_row_groups_of_the_traces_can_be_told_apart(study, put, monkeypatch):
    monkeypatch.setattr("dopt.results.files.RECORDS_OF_A_GROUP", 6)
    with Store(study) as store:
        for number in range(10, 20):
            put(store, f"{number}", number, method=f"method {number % 5}")
        store.merge()
    (file,) = dataset(study / "traces.parquet").get_fragments()
    assert len(file.row_groups) == 7
    assert len(file.subset(field("method") == "method 3").row_groups) == 1
    runs, traces = load(study)
    some = pd.read_parquet(study / "traces.parquet", filters=[("method", "==", "method 3")])
    names = runs[runs["method"] == "method 3"]["run_id"].tolist()
    assert some["run_id"].tolist() == [name for name in names for _ in range(3)]
    whole = pd.read_parquet(study / "traces.parquet")
    assert whole["run_id"].astype(str).tolist() == traces["run_id"].astype(str).tolist()


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
