"""The table of a study: medians with censored runs, ratios, what is printed and what is kept."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from dopt.methods import AsynchronousSGD
from dopt.problems import ProgressiveNoise, TridiagonalQuadratic
from dopt.results import Status
from dopt.results.read import load
from experiments import summary
from experiments.study import Entry, Variant
from experiments.summary import seconds, show, summarize
from experiments.theory import setting_of
from experiments.tuned import Goal


N, UNTIL = 5, 100.0
GOAL = Goal(0.02)


class Tables:
    """Both tables of a folder, run by run."""

    def __init__(self):
        self.rows, self.records = [], []

    def add(self, method, phase, seed, reached, *, step_size=0.25, regime="near", status=None):
        """A run that is below the target from `reached` on; without records where it is None."""
        name = f"run{len(self.rows):03}"
        variants = {"Minibatch SGD": "dense", "Asynchronous SGD": "delay-adaptive"}
        self.rows.append(
            {"run_id": name, "phase": phase, "regime": regime, "method": method}
            | {
                "variant": variants[method],
                "step_size": step_size,
                "factor": step_size,
                "data_seed": seed,
            }
            | {"status": status or Status.FINISHED, "config": json.dumps({"n": N})}
        )
        for record, time in enumerate([] if reached is None else np.arange(0.0, UNTIL + 1)):
            norm2 = 0.01 if time >= reached else 0.5 + 1 / (1 + time)
            self.records.append(
                {"run_id": name, "record": record, "time": time, "grad_norm2": norm2}
                | {"bits_up": 10 * record, "accuracy": math.nan}
            )

    def frames(self):
        columns = ["run_id", "record", "time", "grad_norm2", "bits_up", "accuracy"]
        traces = pd.DataFrame(self.records, columns=columns)
        return pd.DataFrame(self.rows), traces.astype({"run_id": "category"})


@pytest.fixture
def table_of(tiny, tmp_path, monkeypatch):
    """The table of synthetic runs, in one regime."""

    def make(tables):
        monkeypatch.setattr(summary, "load", lambda folder: tables.frames())
        return summarize(tiny(regimes=tiny().regimes[:1], target=0.02), tmp_path)

    return make


def tuned(tables, method, sizes=(0.125, 0.25, 0.5), best=0.25):
    for size in sizes:
        tables.add(method, "tune", 0, 5.0 if size == best else 50.0, step_size=size)


def printed(table, goal=GOAL, width=160):
    text = io.StringIO()
    show(table, goal, Console(file=text, width=width, highlight=False, markup=False))
    return text.getvalue()


def row_of(table, method="Minibatch SGD"):
    return table[table["method"] == method].iloc[0]


@pytest.mark.parametrize(
    ("times", "median", "censored"),
    [
        ([10, 20, 30, 40, 90], 30, 0),
        ([10, 20, 30, math.inf, math.inf], 30, 2),
        ([10, 20, math.inf, math.inf, math.inf], math.inf, 3),
        ([30, 10], 30, 0),
        ([10, math.inf], math.inf, 1),
        ([40, 20, 10, 30], 30, 0),
        ([7], 7, 0),
    ],
)
def test_a_censored_run_counts_as_the_latest(times, median, censored, table_of):
    tables = Tables()
    tuned(tables, "Minibatch SGD")
    for seed, time in enumerate(times):
        tables.add("Minibatch SGD", "report", 1000 + seed, time)
    row = row_of(table_of(tables))
    assert row["time_to_target"] == median
    assert row["bits_to_target"] == (math.inf if math.isinf(median) else 10 * median / N)
    assert (row["seeds"], row["censored"], row["failed"]) == (len(times), censored, 0)
    assert row["time_given"] == UNTIL
    assert (row["variant"], row["step_size"], row["trials"]) == ("dense", 0.25, 3)


def test_rows_are_sorted_and_compared_with_the_first(table_of):
    tables = Tables()
    for method, time in (("Minibatch SGD", 30), ("Asynchronous SGD", 12)):
        tuned(tables, method)
        tables.add(method, "report", 1000, time)
    table = table_of(tables)
    assert list(table["method"]) == ["Asynchronous SGD", "Minibatch SGD"]
    assert list(table["ratio_to_first"]) == [1.0, 2.5]


def test_only_the_chosen_pair_is_reported(table_of):
    """Reports of a step size that was chosen before more variants were tried."""
    tables = Tables()
    tuned(tables, "Minibatch SGD")
    tables.add("Minibatch SGD", "report", 1000, 1.0, step_size=0.5)
    tables.add("Minibatch SGD", "report", 1000, 44.0)
    row = row_of(table_of(tables))
    assert (row["time_to_target"], row["seeds"]) == (44.0, 1)


def test_the_table_is_kept_as_it_is_shown(table_of, tmp_path):
    tables = Tables()
    tuned(tables, "Minibatch SGD")
    tables.add("Minibatch SGD", "report", 1000, math.inf)
    tables.add("Asynchronous SGD", "tune", 0, None, status=Status.NO_PROGRESS)
    table = table_of(tables)
    kept = pd.read_csv(tmp_path / "summary.csv").fillna({"variant": ""})
    pd.testing.assert_frame_equal(kept, table)
    assert printed(kept) == printed(table)


def test_what_is_printed(table_of):
    tables = Tables()
    tuned(tables, "Minibatch SGD", best=0.5)
    for seed, time in enumerate([10, 20, math.inf]):
        tables.add("Minibatch SGD", "report", 1000 + seed, time, step_size=0.5)
    tuned(tables, "Asynchronous SGD")
    tables.add("Asynchronous SGD", "report", 1000, math.inf)
    text = printed(table_of(tables))
    assert "Virtual time to ‖∇f(x)‖² ≤ 0.02 (medians over reporting seeds)" in text
    (minibatch,) = [line for line in text.splitlines() if "Minibatch SGD" in line]
    (stream,) = [line for line in text.splitlines() if "Asynchronous SGD" in line]
    assert minibatch.split("│")[1:8] == [
        *("near   ", " Minibatch SGD    ", " dense          ", "     2^-1* ", "      3 "),
        *(" 20 (1 of 3 >) ", "  1.00 "),
    ]
    assert stream.split("│")[1:8] == [
        *("       ", " Asynchronous SGD ", " delay-adaptive ", "      2^-2 ", "      3 "),
        *("         > 100 ", "       "),
    ]
    for words in ("* best step size at the edge of the grid", "> not reached", "(censored)"):
        assert words in text
    assert "trials: variants × step sizes tried" in text
    assert "lower bound of compressed methods, order with constant 1" in text


def test_a_method_that_never_moved_or_failed_is_shown_as_such(table_of):
    tables = Tables()
    tables.add("Minibatch SGD", "tune", 0, None, status=Status.NO_PROGRESS)
    tables.add("Asynchronous SGD", "tune", 0, None, status=Status.FAILED)
    table = table_of(tables)
    assert dict(zip(table["method"], table["failed"], strict=True)) == {
        "Minibatch SGD": 0,
        "Asynchronous SGD": 1,
    }
    text = printed(table)
    assert [line for line in text.splitlines() if "Minibatch" in line and "no step" in line]
    assert [line for line in text.splitlines() if "Asynchronous" in line and " failed " in line]
    for words in ("no step: not even one server step", "failed: it could not be computed"):
        assert words in text


def test_failed_reports_are_no_censored_ones(table_of):
    tables = Tables()
    tuned(tables, "Minibatch SGD")
    tables.add("Minibatch SGD", "report", 1000, None, status=Status.FAILED)
    row = row_of(table_of(tables))
    assert (row["seeds"], row["censored"], row["failed"]) == (0, 0, 1)
    assert " failed " in printed(pd.DataFrame([row]))


def test_a_narrow_terminal_cuts_no_number(table_of):
    tables = Tables()
    tuned(tables, "Minibatch SGD")
    tables.add("Minibatch SGD", "report", 1000, 37.0)
    table = table_of(tables)
    wide, narrow = printed(table), printed(table, width=80)
    for word in ("37", "2^-2", "dense", "Minibatch SGD", "near"):
        assert word in wide
        assert word in narrow
    assert "…" not in narrow


def test_the_table_of_a_whole_study(finished, tiny):
    study = tiny()
    table = summarize(study, finished)
    runs, traces = load(finished)
    assert list(table["regime"]) == ["near", "near", "far", "far"]
    for row in table.to_dict("records"):
        mine = runs[
            (runs["phase"] == "report")
            & (runs["regime"] == row["regime"])
            & (runs["method"] == row["method"])
        ]
        firsts = []
        for name in mine["run_id"]:
            trace = traces[traces["run_id"] == name]
            below = trace[trace["grad_norm2"] <= study.target]
            firsts.append(below["time"].iloc[0])
        assert row["time_to_target"] == sorted(firsts)[len(firsts) // 2]
        assert (row["seeds"], row["censored"], row["failed"]) == (2, 0, 0)
        assert row["trials"] == 3
        assert row["theory_upper_bound"] > row["time_to_target"]
        assert (
            0 < row["theory_step_size"] < 2 / setting_of(study.regimes[0].problem, study.target).L
        )
    assert table.groupby("regime")["worst_case_order"].nunique().max() == 1


def test_without_the_constants_theory_is_silent(tiny, tmp_path, monkeypatch):
    tables = Tables()
    tuned(tables, "Minibatch SGD")
    tables.add("Minibatch SGD", "report", 1000, 30.0)
    monkeypatch.setattr(summary, "load", lambda folder: tables.frames())
    noisy = TridiagonalQuadratic(20, mu=1e-3, noise=ProgressiveNoise(0.5))
    table = summarize(tiny(problem=noisy, regimes=tiny().regimes[:1]), tmp_path)
    assert (
        table[["theory_step_size", "theory_upper_bound", "worst_case_order"]].isna().all(axis=None)
    )
    assert "nan" not in printed(table)


def test_theory_of_another_rule_of_late_gradients_is_silent(tiny, tmp_path, monkeypatch):
    discard = Entry("Asynchronous SGD", (Variant("discard", AsynchronousSGD(1.0, "discard")),))
    tables = Tables()
    tables.add("Asynchronous SGD", "tune", 0, None, status=Status.NO_PROGRESS)
    monkeypatch.setattr(summary, "load", lambda folder: tables.frames())
    table = summarize(tiny(entries=(discard,), regimes=tiny().regimes[:1]), tmp_path)
    assert math.isinf(table["theory_upper_bound"].iloc[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.12345, "0.123"), (999.4, "999"), (1234.5, "1,234"), (9.9e6, "9,900,000"),
        (1e7, "1.0e+07"), (math.inf, "none"), (math.nan, ""),
    ],
)  # fmt: skip
def test_times_for_reading(value, text):
    assert seconds(value) == text


def test_bits_are_first_where_bits_are_counted(tiny, tmp_path, monkeypatch):
    """Later in time, but cheaper: the table of bits sorts, compares and censors by bits."""
    tables = Tables()
    for method, time in (("Minibatch SGD", 30), ("Asynchronous SGD", 12)):
        tuned(tables, method)
        tables.add(method, "report", 1000, time)
    for record in tables.records:
        if record["run_id"] in ("run003", "run007"):
            record["bits_up"] = record["record"] * (10 if record["run_id"] == "run003" else 1000)
    monkeypatch.setattr(summary, "load", lambda folder: tables.frames())
    study = tiny(regimes=tiny().regimes[:1], target=0.02, axis="bits")
    table = summarize(study, tmp_path)
    assert list(table["method"]) == ["Minibatch SGD", "Asynchronous SGD"]
    assert list(table["bits_to_target"]) == [10 * 30 / N, 1000 * 12 / N]
    assert list(table["ratio_to_first"]) == [1.0, 40.0]
    assert list(table["bits_given"]) == [10 * UNTIL / N, 1000 * UNTIL / N]
    text = printed(table, goal=study.goal)
    assert "Bits sent up by a worker to ‖∇f(x)‖² ≤ 0.02" in text
    assert "worst case" not in text
    (first,) = [line for line in text.splitlines() if "Minibatch SGD" in line]
    assert [cell.strip() for cell in first.split("│")[4:9]] == ["2^-2", "3", "60", "1.00", "30"]


def test_step_sizes_are_shown_with_their_factors(tiny, tmp_path, monkeypatch):
    entries = tuple(
        Entry(entry.label, tuple(v._replace(theory=0.1) for v in entry.variants))
        for entry in tiny().regimes[0].entries
    )
    tables = Tables()
    for method, best in (("Minibatch SGD", 2.0), ("Asynchronous SGD", 1.0)):
        tuned(tables, method, sizes=(0.5, 1.0, 2.0), best=best)
        tables.add(method, "report", 1000, 30.0, step_size=best)
    for row in tables.rows:
        row["step_size"] *= 0.1
    monkeypatch.setattr(summary, "load", lambda folder: tables.frames())
    table = summarize(tiny(regimes=tiny().regimes[:1], entries=entries, target=0.02), tmp_path)
    assert dict(zip(table["method"], table["factor"], strict=True)) == {
        "Minibatch SGD": 2.0,
        "Asynchronous SGD": 1.0,
    }
    assert set(table["theory_step_size"]) == {0.1}
    text = printed(table)
    assert "0.2* │ 2^1 × theory" in text
    assert "0.1 │   1 × theory" in text


def test_accuracy_is_that_of_the_end(table_of):
    tables = Tables()
    tuned(tables, "Minibatch SGD")
    for seed, last in enumerate((0.9, 0.7, 0.8)):
        tables.add("Minibatch SGD", "report", 1000 + seed, 30.0)
        tables.records[-1]["accuracy"] = last
    table = table_of(tables)
    assert row_of(table)["accuracy"] == 0.8
    assert "0.800" in printed(table)
    assert "accuracy" not in printed(table.assign(accuracy=math.nan))
