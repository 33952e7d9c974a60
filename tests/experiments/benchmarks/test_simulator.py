"""The rivals compute the same thing, and the benchmark tells what it ran."""

import io
import json

import pytest
from rich.console import Console

from dopt.errors import ConfigurationError
from experiments.benchmarks import simulator
from experiments.benchmarks.rivals import RIVALS
from experiments.benchmarks.workloads import WORKLOADS, logistic


@pytest.fixture(autouse=True)
def _lenient(monkeypatch):
    """Rivals are written as a researcher would write them, with promotion as JAX has it."""
    import jax

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_every_workload_has_rivals_and_ours():
    assert list(RIVALS) == list(WORKLOADS)
    assert all(rivals.keys() >= {"dopt", "numpy"} for rivals in RIVALS.values())


def test_the_data_are_the_same_for_everyone():
    data = logistic(2)
    assert data.features.shape == (2, 50, 1000)
    # The first number that the generator gives after the rule of the labels.
    assert set(data.labels.ravel().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("rival", ["dopt", "numpy", "jax"])
@pytest.mark.parametrize(
    ("name", "units", "value", "tolerance"),
    [
        ("W1", 10, 0.602183, 1e-5),
        ("W2-TopK", 10, 0.684676, 1e-5),
        ("W2-RandK", 10, 0.683, 6e-3),
        ("W4-Asynchronous", 3000, None, 0),
        ("W4-Rennala", 20_000, None, 0),
    ],
)
def test_rivals_end_where_they_should(name, units, value, tolerance, rival):
    got = RIVALS[name][rival]()(units)
    if value is None:
        value, tolerance = RIVALS[name]["numpy"]()(units), 2e-3
    assert got == pytest.approx(value, abs=tolerance)


def test_grids_end_with_the_run_of_their_largest_step_size():
    for name, alone, units in (("W5-GD", "W1", 5), ("W5-Rennala", "W4-Rennala", 5000)):
        expected = RIVALS[alone]["numpy"]()(units)
        for rival in ("dopt", "jax"):
            assert RIVALS[name][rival]()(units) == pytest.approx(expected, rel=2e-3)


def test_timelines_end_at_the_same_time(monkeypatch):
    ours, theirs = (RIVALS["W6-Timeline"][rival]()(20_000) for rival in ("dopt", "numpy"))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_a_name_stands_for_all_that_begin_so():
    assert simulator.select(["W2", "W1"]) == ["W1", "W2-RandK", "W2-TopK"]
    assert simulator.select([]) == list(WORKLOADS)
    with pytest.raises(ConfigurationError, match="no workload is called W9; there are W1, "):
        simulator.select(["W9"])


def test_too_few_pairs_are_refused():
    with pytest.raises(ConfigurationError, match="8 pairs give no interval"):
        simulator.bench(["W1"], 8, None, Console(), print)


@pytest.mark.slow
def test_the_table_and_the_file(tmp_path):
    out, lines = io.StringIO(), []
    file = tmp_path / "rows.json"
    simulator.bench(["W4-Rennala"], 9, file, Console(file=out, width=160), lines.append)
    rows = json.loads(file.read_text())["rows"]
    assert [row["rival"] for row in rows] == ["dopt", "numpy", "jax"]
    assert all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows)
    assert all(row["peak_mib"] > 10 and row["since_start_s"] > 0 for row in rows)
    assert "W4-Rennala" in out.getvalue()
    assert lines == ["[1/1] W4-Rennala: Rennala SGD, B = 100"]
