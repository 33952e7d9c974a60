"""`dopt bench compressors`: its rows, what it leaves out and why, its refusals."""

import json
from functools import partial

import pytest

from experiments.benchmarks import compressors as benchmark
from experiments.benchmarks.pairs import PAIRS


@pytest.fixture
def bench(monkeypatch, dopt_says):
    monkeypatch.setattr(benchmark, "WORKERS", 3)
    return partial(dopt_says, "bench compressors")


def test_rows_of_a_compressor_and_of_a_member_of_a_family(bench, tmp_path):
    path = tmp_path / "rows.json"
    names = ("Sign", "TopK of natural compression", "PermK")
    code, out, err = bench("--compressor", *names, "--dims", 64, "--json", path)
    assert code == 0
    assert err.splitlines()[0] == "[1/3] d = 64: Sign"
    assert len(err.splitlines()) == 6
    rows = json.loads(path.read_text())["rows"]
    assert [(row["operator"], row["d"], row["workers"]) for row in rows] == [
        (name, 64, workers) for workers in (1, 3) for name in names
    ]
    for row in rows:
        for what in ("encode", "decode", "both"):
            assert row[f"{what}_s"] > 0
            assert row[f"{what}_copies"] == pytest.approx(row[f"{what}_s"] / row["copy_s"], rel=2)
            if row["operator"] == "TopK of natural compression":
                assert f"{what}_numpy" not in row
            else:
                ratio = row[f"{what}_numpy"]
                assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
        assert row["pairs"] == PAIRS
    assert out.count("Sign") == 1
    assert "left out" not in out


def test_what_takes_long_is_left_out_unless_it_is_named(bench, monkeypatch):
    monkeypatch.setattr(benchmark, "OPERATORS", {"TopK": benchmark.OPERATORS["TopK"]})
    monkeypatch.setattr(benchmark, "JOINTS", {})
    monkeypatch.setattr(benchmark, "LONGEST", 1e-9)
    code, out, _ = bench("--dims", 64)
    assert code == 0
    assert "d = 64, left out: TopK (0 s)" in out
    code, out, _ = bench("--dims", 64, "--compressor", "TopK")
    assert "left out" not in out


def test_what_needs_more_memory_or_another_dimension_is_left_out(bench, monkeypatch):
    monkeypatch.setattr(benchmark, "MEMORY", 4 * 4 * 100)
    code, out, _ = bench("--dims", 100, 16_384, "--compressor", "UniformEDEN, 1", "Identity")
    assert code == 0
    assert "d = 100, 3 workers, left out: all: the vectors take 0.0 GiB" in out
    assert "Identity │ 100" in out.replace("  ", "")
    monkeypatch.setattr(benchmark, "MEMORY", 1 << 30)
    code, out, _ = bench("--dims", 16_384, "--compressor", "UniformEDEN, 1")
    assert "UniformEDEN, 1 bit (a uniform rotation of d = 16384 coordinates takes" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dims", "0"), "dims = (0,): give dimensions of at least 1"),
        (("--dims",), "dims = (): give dimensions"),
        (("--compressor", "Topk"), "no operator is called 'Topk': did you mean 'TopK'?"),
        (("--pairs", "3"), "--pairs"),
        (("--workloads", "W1"), "--workloads"),
    ],
)
def test_wrong_usage_is_refused(arguments, says, bench):
    code, out, err = bench(*arguments)
    assert (code, out) == (2, "")
    assert says in err
