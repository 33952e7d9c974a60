"""The lock of an object store: renewed by its holder, taken over when that has died."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dopt
from dopt.errors import DoptError
from dopt.results import leases
from dopt.results.objects import ObjectPlace
from dopt.results.places import place_at
from dopt.results.read import load
from dopt.results.store import Store


def lock_of(address):
    return json.loads(place_at(address).read(".lock"))


def set_lock(address, **changes):
    content = json.dumps(lock_of(address) | changes).encode()
    place_at(address).publish({".lock": lambda file: file.write(content)})


def test_the_second_writer_is_refused_and_told_who_holds_the_lock(address, put):
    with Store(address) as store:
        with pytest.raises(
            DoptError, match=rf"process {os.getpid()} on .* is writing to {address}, .* try again"
        ):
            Store(address)
        done = put(store, "a", 1)
    assert ".lock" not in place_at(address).entries()
    with Store(address) as store:
        assert store.finished() == done


def test_a_lock_that_was_not_renewed_is_taken_over(address, put, caplog):
    first = Store(address)
    done = put(first, "a", 1)
    set_lock(address, holder="process 7 on moon", renewed=time.time() - leases.EXPIRED - 1)
    with Store(address) as second:
        assert "process 7 on moon was writing to" in caplog.text
        with pytest.raises(
            DoptError, match=rf"process {os.getpid()} on .* has taken over {address}"
        ):
            put(first, "b", 2)
        with pytest.raises(DoptError, match="has taken over"):
            first.merge()
        first.close()
        done |= put(second, "c", 3)
    assert set(load(address)[0]["run_id"]) == done


def test_a_lock_that_somebody_removed_stops_the_writer(address, put):
    with Store(address) as store:
        place_at(address).remove(".lock")
        with pytest.raises(DoptError, match="another process has taken over"):
            put(store, "a", 1)


def test_a_holder_renews_its_lock_and_only_its_own(address, monkeypatch):
    monkeypatch.setattr(leases, "RENEWED", 0.01)
    with Store(address):
        set_lock(address, renewed=0.0)
        deadline = time.monotonic() + 20
        while lock_of(address)["renewed"] == 0.0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lock_of(address)["renewed"] > time.time() - 60
        set_lock(address, token="another", renewed=1.0)
        time.sleep(0.1)
        assert lock_of(address)["renewed"] == 1.0
    assert lock_of(address)["token"] == "another"


def test_a_lock_that_says_nothing_is_taken_over(address, caplog):
    place_at(address).publish({".lock": lambda file: file.write(b"{")})
    with Store(address):
        assert "another process was writing to" in caplog.text


def test_of_two_that_come_at_once_one_holds(address, monkeypatch):
    """The other has read no lock, and finds one when it creates its own."""
    with Store(address) as store:
        late = place_at(address)
        read = late.read
        answers = iter([FileNotFoundError()])

        def first_nothing(name):
            for answer in answers:
                raise answer
            return read(name)

        monkeypatch.setattr(late, "read", first_nothing)
        with pytest.raises(DoptError, match=f"process {os.getpid()} on .* is writing to"):
            late.lock()
        store.merge()


def test_a_store_that_cannot_create_exclusively_is_written_and_read_back(address, monkeypatch, put):
    place = place_at(address)
    pipe = place.system.pipe_file

    def simple(path, value):
        pipe(path, value)

    monkeypatch.setattr(place.system, "pipe_file", simple)
    with Store(address) as store:
        put(store, "a", 1)
        with pytest.raises(DoptError, match="is writing to"):
            Store(address)


def test_a_lock_that_cannot_be_released_is_a_warning(address, monkeypatch, caplog):
    store = Store(address)

    def broken(*_):
        raise PermissionError("not yours")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(place_at(address).system, "rm_file", broken)
        store.close()
    assert "not yours" in caplog.text
    assert "others may write there in 120 s" in caplog.text


OTHER = """
import sys
from dopt.errors import DoptError
from dopt.results.objects import ObjectPlace
try:
    ObjectPlace(sys.argv[1]).lock().release()
except DoptError as error:
    sys.exit(str(error))
"""


def test_another_process_is_refused(tmp_path):
    """fsspec's own disk stands for an object store that two processes see."""
    lock = ObjectPlace(f"file://{tmp_path}").lock()
    command = [sys.executable, "-c", OTHER, f"file://{tmp_path}"]
    root = Path(dopt.__file__).parents[1]
    other = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert f"process {os.getpid()} on" in other.stderr
    lock.check()
    lock.release()
    other = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert other.returncode == 0, other.stderr
