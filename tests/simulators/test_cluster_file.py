import csv
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.errors import ConfigurationError, DataError
from simulators.cluster import TIMES, Cluster
from simulators.cluster_file import read_cluster, write_cluster


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "cluster.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_cluster(path)

    return read


def assert_same(a, b):
    assert a.unit == b.unit
    for name in TIMES:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)


times = st.floats(min_value=0.0, allow_nan=False, allow_infinity=True)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(times, times, times, times), min_size=1, max_size=5),
    unit=st.sampled_from(["coordinate", "bit"]),
)
def test_what_is_written_is_read_back_bit_for_bit(tmp_path_factory, rows, unit):
    path = tmp_path_factory.getbasetemp() / "round_trip.csv"
    cluster = Cluster(*np.array([(1.0, 2.0, 3.0, 4.0), *rows]).T, unit=unit)
    write_cluster(path, cluster)
    assert_same(read_cluster(path), cluster)


def test_columns_of_zeros_are_left_out(tmp_path):
    path = tmp_path / "cluster.csv"
    write_cluster(path, Cluster([1.0, np.inf], 0.0, latency=0.5))
    assert path.read_text() == "# unit: coordinate\nh,uplink,latency\n1,0,0.5\ninf,0,0.5\n"


def test_labels_and_comments_are_for_people(tmp_path):
    path = tmp_path / "cluster.csv"
    cluster = Cluster([1.0, 2.0], 0.5, unit="bit")
    labels = ['10.0.0.2 0, "the, slow one"', "10.0.0.3 0"]
    write_cluster(path, cluster, workers=labels, comments=["measured: today\nat noon", "h: 1"])
    assert_same(read_cluster(path), cluster)
    lines = path.read_text().splitlines()
    assert lines[:5] == [
        "# measured: today",
        "# at noon",
        "# h: 1",
        "# unit: bit",
        "worker,h,uplink",
    ]
    assert [row[0] for row in csv.reader(lines[5:])] == labels
    with pytest.raises(ConfigurationError, match="a comment says `unit:`"):
        write_cluster(path, cluster, comments=["unit : coordinate"])
    with pytest.raises(ConfigurationError, match="1 labels for 2 workers"):
        write_cluster(path, cluster, workers=["a"])
    assert_same(read_cluster(path), cluster)


def test_every_spelling_of_a_table(read):
    expected = Cluster([1.0, 2.5], [0.25, np.inf], unit="bit")
    for text in (
        "# unit: bit\nh,uplink\n1,0.25\n2.5,inf\n",
        "# measured in May\n#unit:bit\n\n uplink , h \n.25 , 1\n  Infinity,+25e-1",
        '\ufeff# unit: bit\r\nh,uplink,worker\r\n1,0.25,gpu-3\r\n\r\n2.5,inf,"the, slow one"\r\n',
        '# unit: bit\n"h","uplink"\n"1",0.25\n2.5,inf\n',
    ):
        assert_same(read(text), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty"),
        ("# unit: bit\n\n", ": the file is empty"),
        ("h,uplink\n", ": there is no worker below the header"),
        ("h,uplink\n\n\n", ": there is no worker below the header"),
        ("h\n1\n", ", line 1: there is no column 'uplink'"),
        ("1,2\n3,4\n", ", line 1, column 1: unknown column '1'"),
        ("h;uplink\n1;2\n", ", line 1, column 1: unknown column 'h;uplink'"),
        ("# a\nh,uplink,speed\n1,2,3\n", ", line 2, column 3: unknown column 'speed'"),
        ("h,uplink,h\n1,2,3\n", ", line 1, column 3: column 'h' stands there twice"),
        ("h,uplink\n1,2\n1,fast\n", ", line 3, column 2 (uplink): 'fast' is not a time"),
        ("h,uplink\n1,2\n-1,2\n", ", line 3, column 1 (h): '-1' is not a time"),
        ("h,uplink\n1,nan\n", ", line 2, column 2 (uplink): 'nan' is not a time"),
        ("h,uplink\n1,\n", ", line 2, column 2 (uplink): '' is not a time"),
        ("h,uplink\n1,NA\n", ", line 2, column 2 (uplink): 'NA' is not a time"),
        ("h,uplink\n1,-inf\n", ", line 2, column 2 (uplink): '-inf' is not a time"),
        ("h,uplink\n\n1,2\n\n1,2,3\n", ", line 5: 3 values for 2 columns (h, uplink)"),
        ("h,uplink\n1,2\n1\n", ", line 3: 1 values for 2 columns"),
        ("h,uplink\n1,2\n# end\n", ", line 3: 1 values for 2 columns"),
        ("# unit: byte\nh,uplink\n1,2\n", ", line 1: unit 'byte'"),
        ("h,uplink\ninf,2\n", ": none of the 1 workers ever answers"),
        ("h,uplink\n1,1_0\n", "invalid value '1_0'"),
        (b"h,uplink\n1,\xff\n", ": not a text of comma-separated values in UTF-8"),
        (b"\xff\xfe\x00h", ": not a text of comma-separated values in UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(read, tmp_path, text, message):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'cluster.csv'}") + ".*") as caught:
        read(text)
    assert message in str(caught.value)


def test_a_binary_file_is_refused(read):
    with pytest.raises(DataError):
        read(b"PAR1\x00\x01\x02\nh,uplink\x00\n")
    with pytest.raises(DataError):
        read(b"h,uplink\n\x00\x00,1\n")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_cluster(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_cluster(tmp_path)
    with pytest.raises(DataError, match="cannot be written: No such file"):
        write_cluster(tmp_path / "absent" / "cluster.csv", Cluster([1.0], 0.0))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_a_sentence():
    with pytest.raises(DataError, match="cannot be written: No space left"):
        write_cluster("/dev/full", Cluster([1.0], 0.0))


def test_a_large_file_is_read_whole_and_its_fault_is_found(tmp_path):
    path = tmp_path / "large.csv"
    n = 200_000
    cluster = Cluster(np.sqrt(np.arange(1.0, n + 1)), 1 / np.arange(1.0, n + 1))
    write_cluster(path, cluster)
    assert_same(read_cluster(path), cluster)
    with path.open("a") as file:
        file.write("1,x\n")
    with pytest.raises(DataError, match=f"line {n + 3}, column 2"):
        read_cluster(path)
