"""What every place promises, on the disk and in an object store."""

from pathlib import Path

import fsspec
import pytest

from dopt.errors import DoptError
from dopt.results.local import LocalPlace
from dopt.results.objects import ObjectPlace
from dopt.results.places import place_at
from dopt.results.read import load
from dopt.results.store import Store


def text(content):
    return lambda file: file.write(content.encode())


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("a b", "a b"),
        (Path("a"), "a"),
        ("~/a", "HOME/a"),
        (Path("~/a"), "HOME/a"),
        ("file:///x/a b", "/x/a b"),
        (Path("file:///x/a"), "/x/a"),
        ("file://a", "a"),
        ("a:b", "a:b"),
        ("./a:/b", "a:/b"),
    ],
)
def test_paths_stay_on_the_disk(folder, path, monkeypatch):
    monkeypatch.setenv("HOME", "HOME")
    place = place_at(folder)
    assert isinstance(place, LocalPlace)
    assert place.where == Path(path)


def test_an_address_in_a_path_has_lost_a_slash_and_is_understood():
    for folder in ("memory://a/b/", Path("memory://a/b")):
        place = place_at(folder)
        assert isinstance(place, ObjectPlace)
        assert place.where == "memory://a/b"


def test_addresses_of_no_use_are_sentences(monkeypatch):
    with pytest.raises(DoptError, match="nowhere://a is no address of a known kind"):
        place_at("nowhere://a")
    with pytest.raises(DoptError, match="memory:// names no folder"):
        place_at("memory://")
    with pytest.raises(DoptError, match="there is no home folder for ~nobody-of-this-name/a"):
        place_at("~nobody-of-this-name/a")

    def absent(*_, **__):
        raise ImportError("Install it")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    with pytest.raises(DoptError, match=r"s3://a needs a package .*: pip install s3fs"):
        place_at("s3://a")
    with pytest.raises(DoptError, match=r"dropbox://a needs a package .*: Install it"):
        place_at("dropbox://a")


def test_a_study_in_the_home_folder(tmp_path, monkeypatch, put):
    monkeypatch.setenv("HOME", str(tmp_path))
    with Store("~/my study") as store:
        put(store, "a", 1)
        assert store.folder == tmp_path / "my study"
    assert len(load(f"file://{tmp_path}/my study")[0]) == 1


def test_files_are_written_listed_read_renamed_and_removed(place):
    lock = place.lock()
    place.publish({"a.txt": text("one"), "shards/b.txt": text("three")})
    assert place.read("a.txt") == b"one"
    assert place.tail("shards/b.txt", 2) == b"ee"
    assert place.tail("shards/b.txt", 100) == b"three"
    with place.open("shards/b.txt") as file:
        file.seek(2)
        assert file.read() == b"ree"
    assert place.entries().keys() == {".lock", "a.txt"}
    before = place.entries("shards")
    assert before.keys() == {"b.txt"}
    place.publish({"shards/b.txt": text("other")})
    after = place.entries("shards")
    assert after.keys() == before.keys()
    assert after != before
    place.rename("shards/b.txt", "shards/c.txt")
    assert place.entries("shards").keys() == {"c.txt"}
    place.rename("shards/b.txt", "shards/c.txt")
    place.remove("shards/c.txt")
    place.remove("shards/c.txt")
    assert place.entries("shards") == {}
    assert place.entries("plots") == {}
    with pytest.raises(FileNotFoundError):
        place.read("shards/c.txt")
    with pytest.raises(FileNotFoundError):
        place.tail("shards/c.txt", 1)
    lock.release()


@pytest.mark.parametrize("broken", ["first", "last"])
def test_files_that_cannot_be_made_change_nothing(place, broken):
    lock = place.lock()
    place.publish({"first": text("1"), "last": text("2")})
    before = place.entries()

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    parts = {"first": text("3"), "last": text("4")}
    with pytest.raises(KeyboardInterrupt):
        place.publish(parts | {broken: fail})
    assert place.entries() == before
    place.publish(parts)
    assert (place.read("first"), place.read("last")) == (b"3", b"4")
    assert place.entries().keys() == {".lock", "first", "last"}
    lock.release()


class BrokenError(Exception):
    """An error of some network, of no common kind."""


def fail_at(monkeypatch, place, method, fatal):
    """Lets the `fatal`-th call of a method of the store fail, and those after it."""
    original, calls = getattr(place.system, method), []

    def call(*arguments, **more):
        calls.append(arguments)
        if len(calls) > fatal:
            raise BrokenError("the line is cut\nrequest 17")
        return original(*arguments, **more)

    monkeypatch.setattr(place.system, method, call)


@pytest.mark.parametrize("fatal", [0, 1])
def test_an_upload_that_fails_leaves_the_older_objects_intact(address, monkeypatch, fatal):
    place = place_at(address)
    place.publish({"first": text("1"), "last": text("2")})
    before = place.entries()
    with monkeypatch.context() as patch:
        fail_at(patch, place, "pipe_file", fatal)
        with pytest.raises(DoptError, match=r"cannot write memory://.*: the line is cut; check"):
            place.publish({"first": text("3"), "last": text("4")})
    assert place.entries() == before
    assert (place.read("first"), place.read("last")) == (b"1", b"2")


def test_a_new_batch_whose_upload_fails_is_no_batch(address, monkeypatch, put):
    with Store(address) as store:
        done = put(store, "a", 1)
        with monkeypatch.context() as patch:
            fail_at(patch, place_at(address), "pipe_file", 1)
            with pytest.raises(DoptError, match=r"b\.runs\.parquet: the line is cut"):
                put(store, "b", 2)
        assert store.finished() == done
        assert set(load(address)[0]["run_id"]) == done
    with Store(address) as store:
        assert store.finished() == done
        assert not [n for n in place_at(address).entries("shards") if n.startswith("b")]


def test_a_kill_while_objects_are_replaced_never_leaves_old_runs_beside_new_traces(
    address, monkeypatch, put
):
    """Copies of staged objects are the last step; a batch that is lost there runs again."""
    for fatal in (0, 1):
        with Store(f"{address}/{fatal}") as store:
            done = put(store, "a", 1)
            put(store, "b", 2)
            with monkeypatch.context() as patch:
                fail_at(patch, place_at(address), "cp_file", fatal)
                with pytest.raises(DoptError, match="the line is cut"):
                    put(store, "b", 2, shift=1.0)
        assert set(load(f"{address}/{fatal}")[0]["run_id"]) == done
        with Store(f"{address}/{fatal}") as store:
            assert store.finished() == done


def test_what_cannot_be_read_is_a_sentence(address, monkeypatch, put):
    with Store(address) as store:
        put(store, "a", 1)
    for method in ("ls", "cat_file"):
        with monkeypatch.context() as patch:
            fail_at(patch, place_at(address), method, 0)
            for use in (load, Store):
                with pytest.raises(DoptError, match=r"cannot read memory://.*: the line is cut"):
                    use(address)


def test_objects_lie_where_the_address_says(address, put):
    with Store(address) as store:
        put(store, "a", 1)
        store.merge()
        found = fsspec.filesystem("memory").find(address)
    names = ("meta.json", "runs.parquet", "traces.parquet", ".lock")
    shards = ("shards/a.runs.parquet", "shards/a.traces.parquet")
    prefix = address.removeprefix("memory:/")
    assert sorted(found) == sorted(f"{prefix}/{name}" for name in (*names, *shards))
