import logging

import pandas as pd
import pytest

from dopt.errors import DoptError, SchemaError
from dopt.results.mirrors import mirrored
from dopt.results.places import place_at
from dopt.results.read import load
from dopt.results.store import Store


def write(address, name, text):
    place_at(address).publish({name: lambda file: file.write(text.encode())})


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_a_path_is_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with mirrored("~/a b") as folder:
        assert folder == tmp_path / "a b"
    with mirrored(tmp_path) as folder:
        assert folder == tmp_path


@pytest.mark.parametrize("merging", ["all", "some", "nothing"])
def test_tables_and_small_files_come_and_new_and_changed_ones_go(address, put, merging):
    with Store(address) as store:
        put(store, "a", 1)
        if merging != "nothing":
            store.merge()
        if merging != "all":
            put(store, "b", 2)
    write(address, "summary.csv", "old")
    write(address, "notes.txt", "mine")
    place = place_at(address)
    before, shards = place.entries(), place.entries("shards")
    with mirrored(address) as folder:
        assert_same(load(folder), load(address))
        assert (folder / "notes.txt").read_text() == "mine"
        assert not (folder / ".lock").exists()
        (folder / "summary.csv").write_text("newer")
        (folder / "plots").mkdir()
        (folder / "plots" / "a.png").write_bytes(b"png")
    assert not folder.exists()
    assert place.read("summary.csv") == b"newer"
    assert place.read("plots/a.png") == b"png"
    changed = {name for name, mark in place.entries().items() if mark != before.get(name)}
    assert changed == {"summary.csv"}
    assert place.entries("shards") == shards


def test_an_error_in_the_block_keeps_what_was_written(address, put):
    with Store(address) as store:
        put(store, "a", 1)

    def sweep():
        with mirrored(address) as folder:
            (folder / "summary.csv").write_text("table")
            raise DoptError("3 runs failed")

    with pytest.raises(DoptError, match="3 runs failed"):
        sweep()
    assert place_at(address).read("summary.csv") == b"table"


def test_an_address_without_results_is_an_empty_folder(address):
    with mirrored(address) as folder:
        assert list(folder.iterdir()) == []


def test_a_newer_folder_is_refused(address):
    write(address, "meta.json", '{"schema_version": 4}')
    with pytest.raises(SchemaError, match="update the package"), mirrored(address):
        pass


def test_a_damaged_shard_is_left_out(address, put, caplog):
    with Store(address) as store:
        put(store, "a", 1)
        put(store, "b", 2)
    write(address, "shards/b.runs.parquet", "PAR1")
    with caplog.at_level(logging.WARNING), mirrored(address) as folder:
        assert len(load(folder)[0]) == 1
    assert "its batch is left out" in caplog.text
