"""Bandwidth traces: the arrays against the text files, quirks and faults by hand."""

import lzma
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dopt.data import load_traces, read_trace
from dopt.errors import ConfigurationError, DataError


SETS = {
    "fcc_backup_150": 150,
    "fcc_pensieve_59": 59,
    "hsdpa_3g_norway": 80,
    "lumos5g_verizon_4g": 131,
    "lumos5g_verizon_5g": 90,
    "oboe_half_a": 214,
    "puffer_20211017_200": 200,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "link.txt"


@pytest.fixture
def folder():
    found = Path(os.environ["DOPT_DATA"], "bandwidth_core")
    if not found.is_dir():
        pytest.skip(f"{found} is not there")
    return found


def write_set(root, **arrays):
    """A data folder with one set of two traces, some of whose arrays may be replaced."""
    parts = {
        "t": np.array([0.0, 1.0, 2.0, 0.5, 1.5], np.float32),
        "mbps": np.array([1.0, 0.0, 3.0, 4.0, 5.0], np.float32),
        "offsets": np.array([0, 3, 5], np.int32),
        "names": np.array(["one", "two"]),
    }
    (root / "bandwidth_core").mkdir()
    stored = {f"mine__{name}": array for name, array in (parts | arrays).items()}
    np.savez(root / "bandwidth_core" / "tidy_traces.npz", **stored)
    return root


@pytest.mark.data
@pytest.mark.parametrize("name", ["hsdpa_3g_norway", "lumos5g_verizon_4g", "oboe_half_a"])
def test_every_trace_is_that_of_the_text_files(folder, tmp_path, name):
    traces = {trace.name: trace for trace in load_traces(name)}
    with tarfile.open(folder / f"{name}.tar.xz") as archive:
        members = [member for member in archive if member.isfile()]
        assert len(members) == len(traces) == SETS[name]
        for member in members:
            content = archive.extractfile(member).read()
            rows = [line.split() for line in content.decode().splitlines()]
            last = {float(t): float(mbps) for t, mbps in rows}  # the last of equal times
            trace = traces[member.name]
            np.testing.assert_allclose(trace.t, list(last), rtol=1e-7)
            np.testing.assert_allclose(trace.mbps, list(last.values()), rtol=1e-7)
            file = tmp_path / "trace"
            file.write_bytes(content)
            read = read_trace(file)
            assert read.t.tolist() == list(last)
            assert read.mbps.tolist() == list(last.values())


@pytest.mark.data
@pytest.mark.parametrize("name", SETS)
def test_every_set_is_whole(folder, name):
    traces = load_traces(name)
    assert len(traces) == SETS[name]
    for trace in traces:
        assert trace.t.dtype == trace.mbps.dtype == np.float64
        assert (np.diff(trace.t) > 0).all()
        assert trace.t[0] >= 0
        assert trace.mbps.min() >= 0
        assert trace.mbps.max() > 0


def test_sets_of_a_folder(tmp_path):
    one, two = load_traces("mine", write_set(tmp_path))
    assert (one.name, one.t.tolist(), one.mbps.tolist()) == ("one", [0, 1, 2], [1, 0, 3])
    assert (two.name, two.t.tolist(), two.mbps.tolist()) == ("two", [0.5, 1.5], [4, 5])


def test_the_last_of_equal_times_is_kept(tmp_path, path):
    root = write_set(tmp_path, t=np.array([0.0, 1.0, 1.0, 0.5, 1.5], np.float32))
    one, _ = load_traces("mine", root)
    assert (one.t.tolist(), one.mbps.tolist()) == ([0, 1], [1, 3])
    path.write_text("0 1\n2 5\n2 6\n2 7\n3 1\n")
    assert read_trace(path).mbps.tolist() == [1, 7, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"t": np.array([0, 2, 1, 0, 1.0])}, r"one, sample 2: the time 1.0 comes after 2.0"),
        ({"t": np.array([0, 1, 2, -1, 1.0])}, r"two, sample 0: -1.0 s, 4.0 Mbit/s"),
        ({"mbps": np.array([0, 1, np.nan, 0, 1])}, r"one, sample 2: 2.0 s, nan Mbit/s"),
        ({"mbps": np.array([1.0, 1, 1, 0, 0])}, r"two: all 2 samples are 0 Mbit/s"),
        ({"offsets": np.array([0, 3, 4])}, "2 traces, 5 times and 5 values of mine do not fit"),
        ({"offsets": np.array([0, 5])}, "is damaged"),
        ({"offsets": np.array([0, 0, 5])}, "one holds no sample"),
        ({"names": np.array(["one", None], object)}, "is damaged: Object arrays"),
    ],
)
def test_damaged_sets_are_refused(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        load_traces("mine", write_set(tmp_path, **arrays))


def test_absent_sets_files_and_folders_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_traces("mine", tmp_path)
    root = write_set(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no set 'yours' \(it has mine\)"):
        load_traces("yours", root)
    (root / "bandwidth_core" / "tidy_traces.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match="is damaged"):
        load_traces("mine", root)
    monkeypatch.delenv("DOPT_DATA", raising=False)
    with pytest.raises(DataError, match="no data folder is given; set DOPT_DATA"):
        load_traces("mine")


@pytest.mark.parametrize(
    "content",
    [
        b"0 1.5\n0.5 0\n2 3e0",
        b"0\t1.5\n0.5\t0\n2\t3\n",
        b"0,1.5\r\n0.5, 0\r\n2 ,3\r\n",
        b"0;1.5\n0.5;0\n2;3\n",
        b"\xef\xbb\xbf# seconds, Mbit/s\n\n 0 1.5 # first\n+.5 0.0\n\n2. 3\n\n",
        lzma.compress(b"0 1.5\n0.5 0\n2 3\n"),
    ],
)
def test_quirks_are_read_alike(path, content):
    path.write_bytes(content)
    trace = read_trace(path)
    assert trace.name == "link.txt"
    assert trace.t.tolist() == [0, 0.5, 2]
    assert trace.mbps.tolist() == [1.5, 0, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no sample"),
        (b"# nothing\n\n", "holds no sample"),
        (b"0 1\n1\n", "line 2: 1 value, '1'; a line holds a time and Mbit/s"),
        (b"0 1 2\n", "line 1: 3 values, '0 1 2'"),
        (b"time,mbps\n0,1\n", "line 1: 'time,mbps' are not two numbers"),
        (b"0 1\n\n1 nan\n", "line 3: '1 nan'; times and Mbit/s are finite"),
        (b"0 1\n-1 2\n", "line 2: '-1 2'"),
        (b"0 1\n1 -2\n", "line 2: '1 -2'"),
        (b"0 1\ninf 2\n", "line 2: 'inf 2'"),
        (b"0 1\n\n5 2\n# x\n4 2\n", "line 5: the time 4.0 comes after 5.0"),
        (b"0 0\n1 0\n", "all 2 samples are 0 Mbit/s, so nothing would ever arrive"),
        (b"\x7fELF\x02\x01\x00\xff\xfe\x81", "is not a text: byte 7 is no UTF-8"),
        (bytes(64), "line 1: 1 value"),
        (b"\xfd7zXZ\x00garbage", "is cut|is damaged"),
    ],
)
def test_what_is_no_trace_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_trace(path)
    assert "link.txt" in str(caught.value)


def test_an_absent_file_is_refused(path):
    with pytest.raises(DataError, match=r"link.txt cannot be read: No such file"):
        read_trace(path)
