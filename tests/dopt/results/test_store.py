import errno
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import dopt
from dopt.errors import ConfigurationError, DoptError, SchemaError
from dopt.results import Status
from dopt.results.files import shard_names
from dopt.results.read import load
from dopt.results.store import Store


ROOT = Path(dopt.__file__).parents[1]


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_pandas_opens_two_files_with_every_value(tmp_path, make_runs, make_traces):
    rows = make_runs(2, 1)
    columns = make_traces(rows)
    with Store(tmp_path / "new" / "study") as store:
        store.write("b", rows, columns)
        store.merge()
    folder = tmp_path / "new" / "study"
    runs = pd.read_parquet(folder / "runs.parquet")
    assert runs.drop(columns="reason").to_dict("records") == [
        {name: value for name, value in row.items() if name != "reason"} for row in rows
    ]
    assert runs["reason"].isna().all()
    traces = pd.read_parquet(folder / "traces.parquet").astype({"run_id": str})
    order = pd.Categorical(columns["run_id"], categories=runs["run_id"])
    expected = pd.DataFrame(columns | {"run_id": order})
    expected = expected.sort_values(["run_id", "record"], ignore_index=True)
    expected = expected.astype({"run_id": str, "record": "int32"})
    groups = ["regime", "method", "phase"]
    pd.testing.assert_frame_equal(traces.drop(columns=groups), expected, check_exact=True)
    assert traces[groups].drop_duplicates().values.tolist() == [["high", "rennala", "report"]]


def test_every_file_says_its_schema_version(tmp_path, put):
    with Store(tmp_path) as store:
        put(store, "b", 1)
        store.merge()
    for path in tmp_path.rglob("*.parquet"):
        assert pq.read_schema(path).metadata[b"schema_version"] == b"3"
    assert json.loads((tmp_path / "meta.json").read_text())["schema_version"] == 3


@pytest.mark.parametrize("merging", [False, True])
def test_a_resumed_study_knows_what_is_finished(folder, put, merging):
    with Store(folder) as store:
        assert store.finished() == set()
        done = put(store, "a", 1, 2) | put(store, "b", 3, status=Status.DIVERGED)
        put(store, "c", 4, status=Status.INTERRUPTED)
        put(store, "d", 5, status=Status.FAILED, reason="lost node")
        if merging:
            store.merge()
        assert store.finished() == done
    with Store(folder) as store:
        assert store.finished() == done
        done |= put(store, "c", 4)
        assert store.finished() == done
    with Store(folder) as store:
        assert store.finished() == done


def test_merging_is_deterministic(tmp_path, put):
    for name, batches in {"x": ["ab", "cd"], "y": ["dc", "ba"]}.items():
        with Store(tmp_path / name) as store:
            for batch_id, letters in zip("12", batches, strict=True):
                for letter in letters:
                    put(store, batch_id + letter, ord(letter))
            store.merge()
    for table in ("runs.parquet", "traces.parquet"):
        assert (tmp_path / "x" / table).read_bytes() == (tmp_path / "y" / table).read_bytes()


def test_the_second_writer_is_refused_and_told_who_holds_the_lock(tmp_path, put):
    code = """
import sys
from dopt.errors import DoptError
from dopt.results.store import Store
try:
    Store(sys.argv[1])
except DoptError as error:
    sys.exit(str(error))
"""
    with Store(tmp_path) as store:
        refused = python(code, tmp_path)
        assert refused.returncode == 1
        assert f"process {os.getpid()} is writing to {tmp_path}" in refused.stderr
        with pytest.raises(DoptError, match=f"process {os.getpid()} is writing"):
            Store(tmp_path)
        put(store, "b", 1)
    free = python(code, tmp_path)
    assert free.returncode == 0, free.stderr


KILLED = """
import json, os, signal, sys
from dopt.results.store import Store
folder, rows, columns, fatal = sys.argv[1], *map(json.loads, sys.argv[2:])
store = Store(folder)
fsync, calls = os.fsync, 0
def kill_at(descriptor):
    global calls
    if calls == fatal:
        os.kill(os.getpid(), 9)
    calls += 1
    fsync(descriptor)
os.fsync = kill_at
store.write("b", rows, columns)
"""


@pytest.mark.parametrize(
    ("fatal", "state"),
    [(0, "temporary"), (2, "traces without runs"), (3, "written")],
)
def test_a_writer_killed_at_any_moment_loses_its_batch_at_most(
    tmp_path, put, make_runs, make_traces, fatal, state
):
    with Store(tmp_path) as store:
        before = put(store, "a", 1)
        store.merge()
    rows = make_runs(2)
    columns = {name: values.tolist() for name, values in make_traces(rows).items()}
    killed = python(KILLED, tmp_path, json.dumps(rows), json.dumps(columns), fatal)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = listing(tmp_path / "shards")
    if state == "temporary":
        assert "b.traces.parquet.tmp" in left
    elif state == "traces without runs":
        assert "b.traces.parquet" in left
        assert "b.runs.parquet" not in left
    whole = before | ({rows[0]["run_id"]} if state == "written" else set())
    assert set(load(tmp_path)[0]["run_id"]) == whole
    with Store(tmp_path) as store:
        assert store.finished() == whole
        batches = "ab" if state == "written" else "a"
        assert listing(tmp_path / "shards") == [
            f"{batch}.{table}.parquet" for batch in batches for table in ("runs", "traces")
        ]
        store.write("b", rows, columns)
        assert store.finished() == before | {rows[0]["run_id"]}


def test_only_our_own_leftovers_are_removed(tmp_path, put):
    with Store(tmp_path) as store:
        done = put(store, "a", 1)
    foreign = ["notes.md", "draft.tmp", "shards/readme.txt", "plots/a.png", "other.parquet"]
    for name in foreign:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    for name in ("runs.parquet.tmp", "meta.json.tmp", "shards/z.runs.parquet.tmp"):
        (tmp_path / name).write_bytes(b"half")
    with Store(tmp_path) as store:
        assert store.finished() == done
    shards = ["shards/a.runs.parquet", "shards/a.traces.parquet"]
    assert listing(tmp_path) == sorted([".lock", "meta.json", *shards, *foreign])


def cut(data):
    return data[:-100]


def damage_a_page(data):
    return data[:60] + bytes([data[60] ^ 1]) + data[61:]


def empty(_):
    return b""


def remove(_):
    return None


def replace_by_another_table(_):
    return pd.DataFrame({"a": [1]}).to_parquet()


def rewrite(place, name, change):
    """Changes the bytes of a file, or removes it."""
    data = change(place.read(name))
    if data is None:
        place.remove(name)
    else:
        place.publish({name: lambda file: file.write(data)})


@pytest.mark.parametrize("table", [0, 1], ids=["runs", "traces"])
@pytest.mark.parametrize("harm", [cut, empty, replace_by_another_table, damage_a_page, remove])
def test_a_damaged_shard_counts_as_missing(folder, place, put, caplog, harm, table):
    with Store(folder) as store:
        good = put(store, "good", 1)
        bad = put(store, "bad", 2)
    name = shard_names("bad")[table]
    rewrite(place, name, harm)
    lists_batch = harm is not remove or table == 1
    with caplog.at_level(logging.WARNING):
        assert set(load(folder)[0]["run_id"]) == good
        assert (name in caplog.text) == lists_batch
        caplog.clear()
        with Store(folder) as store:
            store.merge()
            assert (name in caplog.text) == lists_batch
            assert store.finished() == good
            if harm is not remove:
                assert f"{name}.corrupt".removeprefix("shards/") in place.entries("shards")
            assert set(load(folder)[0]["run_id"]) == good
            assert put(store, "bad", 2) == bad
            assert store.finished() == good | bad
            store.merge()
    assert set(load(folder)[0]["run_id"]) == good | bad


def test_a_newer_folder_is_refused_untouched(folder, place, put):
    with Store(folder) as store:
        put(store, "a", 1)
    place.publish({"meta.json": lambda file: file.write(b'{"schema_version": 4}')})
    place.publish({"shards/b.runs.parquet.tmp": lambda file: file.write(b"half")})
    before = place.entries(), place.entries("shards")
    for use in (Store, load):
        with pytest.raises(SchemaError, match=r"has schema version 4, .* up to 3: update"):
            use(folder)
    assert (place.entries(), place.entries("shards")) == before


def test_a_newer_shard_is_refused_untouched(tmp_path, put):
    with Store(tmp_path) as store:
        put(store, "a", 1)
    (tmp_path / "meta.json").unlink()
    path = tmp_path / shard_names("a")[0]
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"schema_version": "4"}), path)
    before = listing(tmp_path)
    for use in (Store, load):
        with pytest.raises(SchemaError, match="update the package"):
            use(tmp_path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": "1"}'])
def test_a_damaged_meta_file_is_a_sentence(tmp_path, text):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(SchemaError, match="the file is damaged: remove it"):
        Store(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("table", ["runs", "traces"])
def test_a_full_disk_leaves_earlier_batches_intact(tmp_path, put, table):
    with Store(tmp_path) as store:
        done = put(store, "a", 1)
        (tmp_path / "shards" / f"b.{table}.parquet.tmp").symlink_to("/dev/full")
        with pytest.raises(DoptError, match=r"No space left .* are intact: free space"):
            put(store, "b", 2)
        assert listing(tmp_path / "shards") == ["a.runs.parquet", "a.traces.parquet"]
        assert store.finished() == done
        (tmp_path / "runs.parquet.tmp").symlink_to("/dev/full")
        with pytest.raises(DoptError, match="No space left on device"):
            store.merge()
        done |= put(store, "b", 2)
        assert store.finished() == done


def test_a_disk_that_fills_while_arrow_writes(tmp_path, put, monkeypatch):
    with Store(tmp_path) as store:
        done = put(store, "a", 1)
        old = load(tmp_path)[1]

        def full(*_, **__):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(pq, "write_table", full)
            with pytest.raises(DoptError, match="No space left on device"):
                put(store, "a", 1, shift=1.0)
        assert store.finished() == done
        pd.testing.assert_frame_equal(load(tmp_path)[1], old)
        assert not list(tmp_path.rglob("*.tmp"))


def test_an_interrupt_while_writing_leaves_no_half_file(tmp_path, put, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with Store(tmp_path) as store:
        monkeypatch.setattr(pq, "write_table", interrupt)
        with pytest.raises(KeyboardInterrupt):
            put(store, "a", 1)
        assert listing(tmp_path / "shards") == []


def test_a_file_in_place_of_the_folder_is_a_sentence(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(DoptError, match=r"cannot write in .*taken: .*; choose another"):
        Store(tmp_path / "taken")
    with pytest.raises(DoptError, match="cannot write in /proc"):
        Store("/proc/dopt")


@pytest.mark.parametrize("batch_id", ["", ".", "../b", "a/b", ".b", "a b", "b\n", "x" * 201])
def test_a_batch_id_must_be_a_file_name(tmp_path, batch_id):
    with Store(tmp_path) as store, pytest.raises(ConfigurationError, match="is no file name"):
        store.write(batch_id, [], {})


def test_a_closed_store_writes_nothing(tmp_path, put):
    store = Store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(DoptError, match="is closed"):
        put(store, "b", 1)
    with pytest.raises(DoptError, match="is closed"):
        store.merge()
