from pathlib import Path

import pytest

from dopt.data import cache_folder, data_folder
from dopt.errors import DataError


def test_data_folder_prefers_the_argument_to_the_environment(tmp_path, monkeypatch):
    named, given = tmp_path / "named", tmp_path / "given"
    named.mkdir()
    given.mkdir()
    monkeypatch.delenv("DOPT_DATA", raising=False)
    assert data_folder() is None
    monkeypatch.setenv("DOPT_DATA", str(named))
    assert data_folder() == named
    assert data_folder(str(given)) == given


def test_data_folder_that_is_not_there_is_refused(tmp_path, monkeypatch):
    absent = tmp_path / "absent"
    with pytest.raises(DataError, match=r"asked for.*absent"):
        data_folder(absent)
    monkeypatch.setenv("DOPT_DATA", str(absent))
    with pytest.raises(DataError, match=r"DOPT_DATA names.*absent"):
        data_folder()


def test_cache_folder(tmp_path, monkeypatch):
    for name in ("DOPT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "dopt"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "dopt"
    monkeypatch.setenv("DOPT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_user_without_a_home_has_no_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("DOPT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
