"""Running a study: what is kept, what is not run again, what a stop, a fault or a kill leaves."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from sweeps import same

from compressors import RandK
from dopt.errors import ConfigurationError, DoptError, InterruptedRunError, UnsupportedError
from dopt.methods import QSGD, MinibatchSGD, RennalaSGD, SGDOne
from dopt.problems import GaussianNoise, TridiagonalQuadratic
from dopt.replay import record_steps, replay
from dopt.results import Status, run_id
from dopt.results.read import load
from dopt.results.store import Store
from experiments import computing
from experiments.computing import same_order, stretched
from experiments.runner import Runner
from experiments.study import Entry, Limits, Variant, schedule_of
from experiments.tuned import best
from simulators import timeline
from simulators.cluster import Cluster


def counted(patch, function=replay):
    """The data seeds of every replay from now on."""
    seeds = []

    def counting(*args, **options):
        seeds.append(options["seeds"])
        return function(*args, **options)

    patch.setattr(computing, "replay", counting)
    return seeds


def after(calls):
    """A request to stop that comes at a certain question for it."""
    asked = iter(range(10**9))
    return lambda: next(asked) >= calls


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of the finished study."""
    return shutil.copytree(finished, tmp_path / "copy")


def test_the_tables_have_the_promised_columns(finished):
    runs, traces = load(finished)
    promised = "run_id study regime method compressor problem cluster step_size timeline_seed "
    promised += "data_seed status seconds peak_memory versions config variant phase reason device "
    promised += "theory_step_size factor"
    assert set(runs) == set(promised.split())
    promised = "run_id record time step gradients bits_up bits_down value gap grad_norm2 accuracy"
    assert list(traces) == promised.split()


def test_every_run_says_what_it_is(finished, tiny):
    runs, traces = load(finished)
    # regimes x entries x (step sizes x tuning seeds + reporting seeds)
    assert len(runs) == 2 * 2 * (3 * 2 + 2)
    assert runs["run_id"].is_unique
    assert set(traces["run_id"]) == set(runs["run_id"])
    for row in runs.to_dict("records"):
        config = json.loads(row["config"])
        assert row["run_id"] == run_id(config)
        same_columns = "study regime method variant phase step_size factor timeline_seed data_seed"
        assert all(row[name] == config[name] for name in same_columns.split())
        assert json.loads(row["versions"]).keys() == {"dopt", "jax", "numpy", "python", "threads"}
        assert (row["seconds"] > 0, row["peak_memory"] > 2**25) == (True, True)
        assert (row["device"], row["problem"]) == (jax.devices()[0].device_kind, "tiny")
    reports = runs[runs["phase"] == "report"]
    assert set(reports["data_seed"]) == set(tiny().report_seeds)
    assert set(reports["status"]) == {Status.TARGET_REACHED}


def test_traces_are_those_of_a_replay(finished, tiny):
    """One reported run, computed again on its own from its configuration."""
    runs, traces = load(finished)
    study = tiny()
    row = runs[(runs["phase"] == "report") & (runs["method"] == "Asynchronous SGD")].iloc[0]
    regime = next(r for r in study.regimes if r.name == row["regime"])
    method = replace(regime.entries[1].variants[0].method, step_size=float(row["step_size"]))
    schedule = schedule_of(study, regime, method)
    alone = replay(regime.problem, method, schedule, seeds=[int(row["data_seed"])])
    kept = traces[traces["run_id"] == row["run_id"]]
    np.testing.assert_array_equal(kept["record"], np.arange(len(alone.step)))
    for column in ("time", "step", "gradients", "bits_up", "bits_down"):
        np.testing.assert_array_equal(kept[column], getattr(alone, column))
    for column in ("value", "gap", "grad_norm2"):
        np.testing.assert_allclose(kept[column], getattr(alone, column)[0, 0], rtol=1e-11)


def test_tuning_ends_for_all_step_sizes_when_one_has_won(finished, tiny):
    runs, traces = load(finished)
    tune = runs[(runs["phase"] == "tune") & (runs["regime"] == "near")]
    for _, batch in tune.groupby("method"):
        kept = traces[traces["run_id"].isin(batch["run_id"])]
        ends = kept.groupby("run_id", observed=True)["time"].last()
        assert ends.nunique() == 1
        reached = batch["status"] == Status.TARGET_REACHED
        won = [s for s, mine in reached.groupby(batch["step_size"]) if mine.all()]
        assert won
        assert (batch["reason"][~reached].str.contains("tuning ended")).all()
        longest = traces[~traces["run_id"].isin(tune["run_id"])]["time"].max()
        assert ends.iloc[0] < longest


def test_the_best_of_a_cut_tuning_is_the_best_of_a_whole_one(tiny, run_study, tmp_path):
    """Tuning ends exactly when more than half of the runs of a step size are there."""
    loud = TridiagonalQuadratic(20, mu=1e-3, noise=GaussianNoise(0.2))
    study = tiny(
        problem=loud, target=0.1, tune_seeds=(0, 1, 2, 3), regimes=tiny().regimes[:1],
        entries=tiny().regimes[0].entries[1:],
    )  # fmt: skip
    tables = run_study(study, tmp_path)
    (regime,) = study.regimes
    (entry,) = regime.entries
    schedule = schedule_of(study, regime, entry.variants[0].method)
    whole = replay(
        loud, entry.variants[0].method, schedule, step_sizes=study.factors,
        seeds=study.tune_seeds, records=record_steps(schedule.K),
    )  # fmt: skip
    first = whole.first_below(study.target)
    times = np.sort(np.where(first >= 0, whole.time[first], np.inf), axis=0)
    third = times[2].min()
    # One seed, and two of four, are there earlier: the end is that of neither.
    assert times[0].min() < times[1].min() < third < np.inf
    runs, traces = tables
    tune = traces[traces["run_id"].isin(runs["run_id"][runs["phase"] == "tune"])]
    assert tune["time"].max() == third
    chosen = best(*tables, regime.name, entry.label, study.goal)
    assert times[2, study.factors.index(chosen.step_size)] == third


def test_running_again_computes_nothing_and_changes_nothing(folder, tiny, run_study, monkeypatch):
    def never(*args, **options):
        raise AssertionError("a finished run was run again")

    names = ["runs.parquet", "traces.parquet", *(folder / "shards").iterdir()]
    before = [(folder / name).read_bytes() for name in names]
    monkeypatch.setattr(computing, "replay", never)
    run_study(tiny(), folder)
    assert [(folder / name).read_bytes() for name in names] == before


@pytest.mark.parametrize("calls", [0, 1, 2, 7, 40, 100])
def test_a_stopped_study_goes_on_to_the_same_end(
    calls, finished, tiny, run_study, tmp_path, monkeypatch
):
    """In a batch, between two batches, while tuning, while reporting."""
    with pytest.raises(InterruptedRunError, match="the same command goes on"):
        run_study(tiny(), tmp_path, stopping=after(calls))
    runs, _ = load(tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    done = runs["status"] != Status.INTERRUPTED
    assert (runs["reason"][~done] == "stopped on request").all()
    replays = counted(monkeypatch)
    same(run_study(tiny(), tmp_path), load(finished))
    batches = runs[done].groupby(["regime", "method", "phase"]).ngroups
    assert len(replays) <= 8 - batches


def test_stops_come_in_all_places(tiny, run_study, tmp_path):
    """The calls of the test above do stop inside and between batches, in both phases."""
    seen = set()
    for calls in (0, 1, 2, 7, 40, 100):
        with pytest.raises(InterruptedRunError):
            run_study(tiny(), tmp_path / str(calls), stopping=after(calls))
        runs, _ = load(tmp_path / str(calls))
        inside = (runs["status"] == Status.INTERRUPTED).any()
        seen.add(str(runs["phase"].iloc[0]) if inside else "between")
        seen |= set(runs["phase"])
    assert seen >= {"tune", "report"}


def test_more_seeds_are_run_without_the_old_ones(folder, tiny, run_study, monkeypatch, tmp_path):
    before, _ = load(folder)
    more = tiny(report_seeds=(1000, 1001, 1002, 1003))
    replays = counted(monkeypatch)
    runs, traces = run_study(more, folder)
    assert set(replays) == {(1002, 1003)}
    assert len(runs) == len(before) + 2 * 2 * 2
    old = runs[runs["run_id"].isin(before["run_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, before, check_exact=True)
    whole_runs, whole_traces = run_study(more, tmp_path / "whole")
    assert list(whole_runs["run_id"]) == list(runs["run_id"])
    # Batches of other widths may round otherwise.
    pd.testing.assert_frame_equal(traces, whole_traces, rtol=1e-9)


def test_more_variants_and_regimes_are_run_without_the_old_ones(
    tiny, run_study, tmp_path, monkeypatch
):
    all_of_us, alone = Variant("all", MinibatchSGD(1.0)), Variant("one", SGDOne(1.0))
    near, _ = tiny().regimes
    run_study(tiny(regimes=(near,), entries=(Entry("SGD", (all_of_us,)),)), tmp_path)
    before, _ = load(tmp_path)
    replays = counted(monkeypatch)
    runs, _ = run_study(tiny(entries=(Entry("SGD", (all_of_us, alone)),)), tmp_path)
    tuned = runs[runs["phase"] == "tune"].groupby(["regime", "variant"]).size()
    assert (tuned == 6).all()
    assert len(tuned) == 4
    assert set(before["run_id"]) < set(runs["run_id"])
    # "all" in `far`, "one" in both, and reports where another variant won.
    assert len(replays) <= 3 + 2


@pytest.mark.parametrize(
    ("change", "says"),
    [({"target": 0.04}, "target"), ({"factors": (0.5, 1.0)}, "step_sizes")],
)
def test_other_settings_are_refused_and_nothing_is_lost(change, says, folder, tiny, run_study):
    before = load(folder)
    with pytest.raises(ConfigurationError, match=f"now {says} = "):
        run_study(tiny(**change), folder)
    same(load(folder), before)


def test_other_settings_are_refused_where_nothing_was_finished(tiny, run_study, tmp_path):
    with pytest.raises(InterruptedRunError):
        run_study(tiny(), tmp_path, stopping=after(0))
    with pytest.raises(ConfigurationError, match="now target = "):
        run_study(tiny(target=0.04), tmp_path)


class Forgetful(dict):
    """A memory of traces that never has the one asked for."""

    def get(self, key, default=None):
        return default


def test_a_trace_used_again_in_another_regime_is_the_one_computed_there(
    tiny, run_study, tmp_path, monkeypatch
):
    """All links are in proportion to the gradients, so that the order of arrivals is the same."""
    rennala = Entry("Rennala SGD", (Variant("B = 7", RennalaSGD(1.0, 7)),))
    study = tiny(entries=(*tiny().regimes[0].entries, rennala))
    with monkeypatch.context() as patch:
        replays = counted(patch)
        used_again = run_study(study, tmp_path / "a")
    with monkeypatch.context() as patch:
        every = counted(patch)
        computed = run_study(study, tmp_path / "b", known=Forgetful())
    assert len(every) == 2 * 2 * 3
    assert len(replays) <= len(every) - 3
    same(used_again, computed)


def schedules(study, method):
    return [schedule_of(study, regime, method) for regime in study.regimes]


def test_the_order_is_the_same_only_where_all_rows_are(tiny):
    minibatch = MinibatchSGD(1.0)
    asynchronous = tiny().regimes[0].entries[1].variants[0].method
    for method in (minibatch, asynchronous, RennalaSGD(1.0, 3)):
        near, far = schedules(tiny(), method)
        K = min(near.K, far.K)
        assert same_order(near, far, K)
        assert not same_order(near, far, K + 1)
        assert not np.array_equal(near.time[: K + 1], far.time[: K + 1])
    (rounds, _), (stream, _) = schedules(tiny(), minibatch), schedules(tiny(), asynchronous)
    assert not same_order(rounds, stream, 5)
    other = Cluster([1.0, 2.0, 3.1, 4.7, 5.9], 0.0)
    uneven = tiny(regimes=(tiny().regimes[0]._replace(cluster=other),))
    assert not same_order(stream, *schedules(uneven, asynchronous), 20)
    assert same_order(stream, *schedules(uneven, asynchronous), 1)
    assert not same_order(rounds, timeline_of(QSGD(1.0, RandK(2)), tiny()), 5)


def timeline_of(method, study):
    """Ten steps of a method in the first regime."""
    costs = study.regimes[0].costs(method)
    return timeline(method.policy(costs, study.regimes[0].problem.d), costs, steps=10)


def test_a_stretched_trace_has_the_times_and_totals_of_its_regime(tiny):
    study = tiny()
    asynchronous = study.regimes[0].entries[1].variants[0].method
    near, far = schedules(study, asynchronous)
    long, short = (near, far) if near.K > far.K else (far, near)
    records = record_steps(short.K)
    problem = study.regimes[0].problem
    known = replay(problem, asynchronous, long, records=record_steps(long.K))
    here = replay(problem, asynchronous, short, records=records)
    found = stretched(known, short)
    for column in ("step", "time", "gradients", "bits_up", "bits_down", "value", "grad_norm2"):
        np.testing.assert_array_equal(getattr(found, column), getattr(here, column))


def test_a_step_size_that_diverges_disturbs_no_other(tiny, run_study, tmp_path):
    entries = tiny().regimes[0].entries[:1]
    calm = run_study(tiny(entries=entries), tmp_path / "calm")
    wild = run_study(tiny(entries=entries, factors=(0.125, 0.25, 0.5, 2.0**127)), tmp_path / "w")
    runs, traces = wild
    lost = runs[runs["step_size"] == 2.0**127]
    assert set(lost["status"]) == {Status.DIVERGED}
    assert (lost["reason"] == "‖∇f(x)‖² is not finite").all()
    ends = traces[traces["run_id"].isin(lost["run_id"])].groupby("run_id", observed=True).tail(1)
    assert ends["grad_norm2"].isna().all()
    others = runs[runs["step_size"] < 2.0**127]
    columns = ["regime", "phase", "step_size", "data_seed", "status"]
    pd.testing.assert_frame_equal(
        others[columns].sort_values(columns, ignore_index=True),
        calm[0][columns].sort_values(columns, ignore_index=True),
    )
    ids = {"calm": calm[0], "wild": others}
    norms = {
        name: tables[tables["run_id"].isin(ids[name]["run_id"])]["grad_norm2"].sort_values()
        for name, tables in (("calm", calm[1]), ("wild", traces))
    }
    np.testing.assert_allclose(norms["wild"], norms["calm"], rtol=1e-9)


def test_a_method_without_a_server_step_has_no_progress(tiny, run_study, tmp_path):
    never = Cluster([1.0, np.inf], 0.0)
    waits = tiny().regimes[0]._replace(name="waits", cluster=never)
    short = tiny().regimes[0]._replace(name="short", limits=Limits(seconds=0.5, gradients=400))
    runs, traces = run_study(tiny(regimes=(waits, short)), tmp_path)
    stuck = runs[(runs["regime"] == "short") | (runs["method"] == "Minibatch SGD")]
    assert set(stuck["status"]) == {Status.NO_PROGRESS}
    assert set(stuck["phase"]) == {"tune"}
    assert not traces["run_id"].isin(stuck["run_id"]).any()
    reasons = dict(zip(stuck["regime"], stuck["reason"], strict=True))
    assert "worker 1 never answers" in reasons["waits"]
    assert (
        reasons["short"] == "400 gradients or 0.5 virtual seconds end before the first server step"
    )
    moved = runs[(runs["regime"] == "waits") & (runs["method"] == "Asynchronous SGD")]
    assert set(moved["phase"]) == {"tune", "report"}


def test_a_batch_that_fails_says_why_and_is_tried_again(
    tiny, run_study, tmp_path, monkeypatch, caplog, finished
):
    def refuses(problem, method, *args, **options):
        if isinstance(method, MinibatchSGD):
            raise UnsupportedError("this method cannot run here")
        return replay(problem, method, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(computing, "replay", refuses)
        runs, _ = run_study(tiny(), tmp_path)
    failed = runs[runs["method"] == "Minibatch SGD"]
    assert set(failed["status"]) == {Status.FAILED}
    assert set(failed["reason"]) == {"this method cannot run here"}
    assert set(runs["status"]) > {Status.FAILED, Status.TARGET_REACHED}
    assert "Minibatch SGD (dense), tune failed: this method cannot run here" in caplog.text
    same(run_study(tiny(), tmp_path), load(finished))


def test_a_schedule_that_cannot_be_made_fails_its_batch_alone(tiny, run_study, tmp_path, caplog):
    """Virtual time of 2^62 ticks: what only the timeline can see."""
    slow = Cluster([1.0, 1e15], 0.0)
    far_apart = tiny().regimes[0]._replace(cluster=slow, limits=Limits(seconds=1e15, gradients=400))
    runs, _ = run_study(tiny(regimes=(far_apart,)), tmp_path)
    statuses = runs[runs["phase"] == "tune"].groupby("method")["status"].first()
    assert statuses["Minibatch SGD"] == Status.FAILED
    assert "too far apart for one clock" in caplog.text


def test_an_unexpected_error_is_not_hidden_and_earlier_batches_are_kept(
    tiny, run_study, tmp_path, monkeypatch, finished
):
    calls = []

    def breaks(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError("a bug")
        return replay(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(computing, "replay", breaks)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            run_study(tiny(), tmp_path)
    assert (tmp_path / "runs.parquet").exists()
    assert len(load(tmp_path)[0]) >= 6
    same(run_study(tiny(), tmp_path), load(finished))


def test_a_full_disk_is_a_sentence_and_earlier_batches_are_kept(
    tiny, run_study, tmp_path, monkeypatch, finished
):
    write, written = Store.write, []

    def full(self, batch_id, *tables):
        if len(written) == 3:
            raise DoptError(f"cannot write {batch_id}: No space left on device")
        written.append(batch_id)
        write(self, batch_id, *tables)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", full)
        with pytest.raises(DoptError, match="No space left"):
            run_study(tiny(), tmp_path)
    shards = {path.name.split(".")[0] for path in (tmp_path / "shards").glob("*.runs.parquet")}
    assert shards == set(written)
    same(run_study(tiny(), tmp_path), load(finished))


def test_progress_counts_every_batch_once(tiny, tmp_path):
    seen = []
    with Store(tmp_path) as store:
        run = Runner(tiny(), store, seen.append, lambda: False)
        run.run()
    assert run.done == run.batches == 8
    assert {advance.done for advance in seen} == set(range(8))
    assert all(0 <= advance.share <= 1 for advance in seen)
    places = [advance.done + advance.share for advance in seen]
    assert places == sorted(places)
    assert seen[0].what == "far: Minibatch SGD (dense), tune"
    assert seen[-1].what == "near: Asynchronous SGD (delay-adaptive), report"
