"""`dopt live`: runs beside the simulator's, in tables, schedules and a figure."""

import json
import shutil
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from rays import own_ray

from dopt.errors import ConfigurationError, InterruptedRunError
from dopt.results import Status
from dopt.results.read import load
from experiments import cli, live_runs, lived
from experiments.live_figure import live_figure
from experiments.live_table import show
from experiments.options import LiveOptions
from experiments.settings import STUDIES, ErrorFeedback


pytestmark = pytest.mark.ray

STEPS = 12


@pytest.fixture(scope="module")
def ray():
    with own_ray(cpus=2) as ray:
        yield ray


def options(folder, **changes):
    """Options of a study whose sweep is in the folder."""
    given = {"out": folder, "steps": STEPS, "seconds": 1.0, "processes": 2, "quiet": True}
    return LiveOptions(**given | changes, settings=ErrorFeedback())


@pytest.fixture
def built(tiny, monkeypatch):
    """The study in place of that of the settings."""
    study = tiny()
    monkeypatch.setattr(live_runs, "study_of", lambda settings, data: study)
    return study


@pytest.fixture(scope="module")
def folder(ray, tiny, finished, tmp_path_factory):
    """What one command leaves."""
    out = tmp_path_factory.mktemp("lived") / "folder"
    shutil.copytree(finished, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_runs, "study_of", lambda settings, data: tiny())
        live_runs.live(options(out, panels=("far",)))
    return out


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_no_option_of_a_study_has_the_name_of_one_of_live(name):
    command = cli.parse(["live", name, "--preset", "smoke", "--panels", "x", "--methods", "y"])
    assert (command.study.panels, command.study.methods) == (("x",), ("y",))


def test_a_row_a_run_beside_the_simulator(folder, tiny):
    runs = pd.read_parquet(folder / live_runs.RUNS)
    assert runs["run"].tolist() == ["far, Minibatch SGD", "far, Asynchronous SGD"]
    assert set(runs["status"]) <= {Status.FINISHED, Status.TARGET_REACHED}
    assert (runs["steps"] == STEPS).all()
    assert (runs["replay_difference"] == 0).all()
    np.testing.assert_allclose(runs["seconds_simulated"], 1.0)
    assert (runs["ratio"] >= 0.99).all()
    np.testing.assert_array_equal(runs["bits_received"], runs["bits_up"])
    np.testing.assert_array_equal(runs["bits_up"], runs["bits_up_simulated"])
    assert runs["messages"].tolist() == [5 * STEPS, STEPS]
    table, traces = load(folder)
    for entry, step_size in zip(tiny().regimes[1].entries, runs["step_size"], strict=True):
        choice = tiny().choice(tiny().regimes[1], entry, table, traces)
        assert step_size == choice.step_size
    assert {"dopt", "jax"} <= set(json.loads(runs["versions"].iloc[0]))


def test_rounds_have_the_simulators_trace_and_streams_their_own(folder, tiny):
    traces = pd.read_parquet(folder / live_runs.TRACES)
    kept = traces.set_index(["method", "source"]).sort_index()
    lived_rounds = kept.loc[("Minibatch SGD", lived.LIVED)]
    simulated = kept.loc[("Minibatch SGD", lived.SIMULATED)]
    assert lived_rounds["step"].tolist() == list(range(STEPS + 1))
    # Rounds do the same work, whatever the order in which they are summed.
    np.testing.assert_allclose(lived_rounds["grad_norm2"], simulated["grad_norm2"], rtol=1e-9)
    np.testing.assert_array_equal(lived_rounds["bits_up"], simulated["bits_up"])
    table, all_traces = load(folder)
    mine = table[
        (table["phase"] == "report")
        & (table["regime"] == "far")
        & (table["method"] == "Minibatch SGD")
        & (table["data_seed"] == 1000)
    ]
    swept = all_traces[all_traces["run_id"] == mine["run_id"].iloc[0]]
    np.testing.assert_allclose(swept["grad_norm2"][: STEPS + 1], simulated["grad_norm2"], rtol=1e-9)
    np.testing.assert_allclose(swept["time"][: STEPS + 1], simulated["time"], rtol=1e-9)
    scale = pd.read_parquet(folder / live_runs.RUNS)["scale"].iloc[0]
    np.testing.assert_allclose(traces["seconds"][: STEPS + 1], scale * traces["time"][: STEPS + 1])


def test_a_schedule_is_read_again_and_replayed(folder, tiny):
    from dopt.replay import replay

    schedule = lived.read_schedule(folder / "live-far-Asynchronous-SGD.npz")
    assert (schedule.K, schedule.n, schedule.stuck) == (STEPS, 5, None)
    row = pd.read_parquet(folder / live_runs.RUNS).iloc[1]
    regime = tiny().regimes[1]
    (variant,) = regime.entries[1].variants
    trace = replay(
        regime.problem, variant.method, schedule, step_sizes=[row["step_size"]], seeds=[1000]
    )
    traces = pd.read_parquet(folder / live_runs.TRACES)
    mine = traces[(traces["method"] == row["method"]) & (traces["source"] == lived.LIVED)]
    np.testing.assert_allclose(trace.grad_norm2[0, 0], mine["grad_norm2"], rtol=1e-9)
    np.testing.assert_allclose(trace.time, mine["seconds"])


def test_the_figure_has_a_panel_a_run_with_both_sources(folder, tiny):
    traces = pd.read_parquet(folder / live_runs.TRACES)
    figure = live_figure(tiny(), traces)
    assert [ax.get_title() for ax in figure.axes] == ["Minibatch SGD", "Asynchronous SGD"]
    for ax in figure.axes:
        curves = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
        assert [line.get_linestyle() for line in curves] == ["-", "--"]
        mine = traces[traces["method"] == ax.get_title()]
        for line, source in zip(curves, (lived.LIVED, lived.SIMULATED), strict=True):
            there = mine[mine["source"] == source]
            np.testing.assert_array_equal(line.get_ydata(), there["grad_norm2"])
    without = traces[traces["source"] == lived.LIVED].assign(time=np.nan)
    for ax in live_figure(tiny(), without).axes:
        assert ax.get_xlabel() == "real time [s], no delays"
    assert (folder / "live.png").stat().st_size > 10_000
    assert (folder / "live.pdf").read_bytes().startswith(b"%PDF")


def test_the_table_is_for_reading(folder, capsys):
    from rich.console import Console

    show(pd.read_parquet(folder / live_runs.RUNS), Console(width=60))
    text = capsys.readouterr().out
    assert "Asynchronous SGD" in text
    assert text.count("exact") == 2


def test_what_the_study_does_not_have_is_refused_before_anything_runs(built, tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"'close' is the beginning of no regime .* near, far"
    ):
        live_runs.live(options(tmp_path, panels=("close",)))
    with pytest.raises(ConfigurationError, match="'Sgd' is the beginning of no method"):
        live_runs.live(options(tmp_path, methods=("Sgd",)))
    for change in ({"steps": 0}, {"seconds": -1.0}, {"patience": 0.0}, {"processes": 0}):
        with pytest.raises(ConfigurationError, match=f"--{next(iter(change))}"):
            live_runs.live(options(tmp_path, **change))


def test_names_may_be_beginnings(tiny):
    found = live_runs.chosen(tiny(), ["NEAR", "f"], ["async"])
    assert [(regime.name, entry.label) for regime, entry in found] == [
        ("near", "Asynchronous SGD"),
        ("far", "Asynchronous SGD"),
    ]
    assert {regime.name for regime, _ in live_runs.chosen(tiny(), [], [])} == {"near"}


def test_a_stop_keeps_what_was_lived(ray, built, finished, tmp_path, monkeypatch):
    asked = []

    @contextmanager
    def signals():
        yield lambda: asked.append(None) or len(asked) > 40

    shutil.copytree(finished, tmp_path / "folder")
    monkeypatch.setattr(live_runs, "signals", signals)
    with pytest.raises(InterruptedRunError, match="what was lived is kept in"):
        live_runs.live(options(tmp_path / "folder", steps=10_000, seconds=1000.0))
    (row,) = pd.read_parquet(tmp_path / "folder" / live_runs.RUNS).to_dict("records")
    assert (row["status"], row["reason"]) == (Status.INTERRUPTED, "stopped on request")
    assert row["steps"] < row["steps_planned"]
