"""Regions as clusters: a file by hand, every fault, and the measured table."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from dopt.errors import ConfigurationError, DataError
from simulators.regions import read_regions, regions_cluster


HEADER = "a,b,delay_ms,bandwidth_gbps\n"
THREE = HEADER + "Oslo,Rome,20,0.5\nOslo,Lima,110,0.25\nRome,Lima,90,1\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "regions.csv"


def test_matrices_are_symmetric_in_seconds_and_bits(path):
    path.write_text(THREE)
    regions = read_regions(path)
    assert regions.names == ("Oslo", "Rome", "Lima")
    np.testing.assert_allclose(
        regions.delay, [[0.02, 0.02, 0.11], [0.02, 0.02, 0.09], [0.11, 0.09, 0.02]]
    )
    np.testing.assert_allclose(
        regions.bandwidth, [[1e9, 0.5e9, 0.25e9], [0.5e9, 1e9, 1e9], [0.25e9, 1e9, 1e9]]
    )


def test_quirks_are_read_alike(path):
    path.write_text(
        "\ufeff# measured twice\n\n" + THREE.replace(",", " , ") + "Rome,Oslo,20,0.5\n",
        encoding="utf-8",
    )
    one = read_regions(path)
    path.write_text(THREE.replace("\n", "\r\n"))
    other = read_regions(path)
    assert one.names == other.names
    np.testing.assert_array_equal(one.delay, other.delay)
    path.write_text(THREE + "Rome,Rome,1,10\n")
    within = read_regions(path)
    assert within.bandwidth[1, 1] == within.bandwidth[0, 0] == 10e9
    assert within.delay[1, 1] == within.delay[2, 2] == 0.001


def test_a_cluster_has_the_links_to_its_server(path):
    path.write_text(THREE)
    cluster = regions_cluster(path, server="Rome", workers=["Lima", "Oslo", "Rome", "Oslo"], h=0.5)
    assert cluster.unit == "bit"
    assert cluster.h.tolist() == [0.5] * 4
    np.testing.assert_allclose(cluster.latency, [0.09, 0.02, 0.02, 0.02])
    np.testing.assert_allclose(cluster.uplink, [1e-9, 2e-9, 1e-9, 2e-9])
    assert cluster.downlink.tolist() == cluster.uplink.tolist()
    costs = cluster.costs(d=10**6, dtype=np.float32, message_bits=10**6)
    np.testing.assert_allclose(costs.tau, [0.091, 0.022, 0.021, 0.022])
    np.testing.assert_allclose(costs.tau_down, [0.122, 0.084, 0.052, 0.084])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no pair of regions"),
        (HEADER, "has no pair of regions"),
        ("a,b,delay,bandwidth\nOslo,Rome,1,1\n", r"line 1: the columns are 'a,b,delay,bandwidth'"),
        (HEADER + "Oslo,Rome,20\n", "line 2: 3 values for 4 columns"),
        (HEADER + "Oslo,,20,1\n", "line 2: a region without a name"),
        (HEADER + "Oslo,Rome,fast,1\n", "line 2, column delay_ms: 'fast'"),
        (HEADER + "Oslo,Rome,nan,1\n", "line 2, column delay_ms: 'nan'"),
        (HEADER + "Oslo,Rome,-1,1\n", "line 2, column delay_ms: '-1'"),
        (HEADER + "Oslo,Rome,1,inf\n", "line 2, column bandwidth_gbps: 'inf'"),
        (HEADER + "Oslo,Rome,1,0\n", "line 2: a bandwidth of 0 carries nothing"),
        (THREE + "Rome,Oslo,21,0.5\n", "line 5: Rome and Oslo had another link above"),
        (THREE + "Oslo,Rome,20,0.6\n", "line 5: Oslo and Rome had another link above"),
        (THREE + "Oslo,Bonn,9,1\n", r"no link between Rome and Bonn \(and 1 more pairs\)"),
        ('"', "not a text of comma-separated values"),
    ],
)
def test_faults_are_refused_with_their_line(path, text, message):
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_regions(path)


def test_files_that_are_none_are_refused(path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_regions(path)
    path.write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(DataError, match="not a text of comma-separated values in UTF-8"):
        read_regions(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"server": "Rom", "workers": ["Oslo"]}, r"no region 'Rom' \(it has Oslo, Rome, Lima\)"),
        ({"server": "Rome", "workers": ["Oslo", "Bern"]}, "no region 'Bern'"),
        ({"server": "Rome", "workers": []}, "no worker"),
        ({"server": "Rome", "workers": ["Oslo"], "h": [1.0, 2.0]}, "uplink has 1 workers|h has 2"),
        ({"server": "Rome", "workers": ["Oslo"], "h": -1.0}, r"h\[0\] = -1.0"),
    ],
)
def test_clusters_that_cannot_be_are_refused(path, arguments, message):
    path.write_text(THREE)
    with pytest.raises(ConfigurationError, match=message):
        regions_cluster(path, **{"h": 1.0, **arguments})


@pytest.mark.data
def test_the_measured_table_is_read_whole():
    path = Path(os.environ["DOPT_DATA"], "geo_wan_dtfm", "region_pairs.csv")
    if not path.exists():
        pytest.skip(f"{path} is not there")
    regions = read_regions(path)
    assert len(regions.names) == 10
    off = ~np.eye(10, dtype=bool)
    assert (regions.delay[off].min(), regions.delay[off].max()) == (0.011, 0.265)
    assert (regions.bandwidth[off].min(), regions.bandwidth[off].max()) == (0.326e9, 1.16e9)
    np.testing.assert_array_equal(regions.delay, regions.delay.T)
    with path.open() as file:
        for row in csv.DictReader(file):
            i, j = regions.names.index(row["a"]), regions.names.index(row["b"])
            assert regions.delay[i, j] == pytest.approx(float(row["delay_ms"]) / 1e3)
            assert regions.bandwidth[j, i] == pytest.approx(float(row["bandwidth_gbps"]) * 1e9)
