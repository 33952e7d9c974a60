"""Kimad's studies: what presets build, links and stand-ins, and small runs to the end."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dopt.errors import ConfigurationError, DataError
from dopt.methods import Kimad
from dopt.monitors import Oracle
from dopt.policies import FixedBudget, RoundTime
from dopt.problems import leaf_names
from dopt.results import Status
from dopt.results.read import load
from dopt.results.store import Store
from experiments import kimad, kimad_cifar, kimad_mnist, kimad_quadratic, kimad_rounds
from experiments.builders import BUILDERS
from experiments.commands import sweep
from experiments.links import SETS, first_of, links_of
from experiments.options import SweepOptions
from experiments.runner import Runner
from experiments.settings import STUDIES
from experiments.study import schedule_of
from experiments.style import STYLES
from experiments.summary import summarize
from simulators.rates import Recorded, Sine
from simulators.varying import VaryingCluster


NAMES = ("kimad-quadratic", "kimad-mnist", "kimad-traces")
SMOKE = {name: STUDIES[name].presets["smoke"].settings for name in STUDIES}
LABELS = (
    kimad.UNCOMPRESSED,
    kimad.BEST_FIXED,
    kimad.SAME_BUDGET,
    kimad.KIMAD,
    kimad.KIMAD_PLUS,
    kimad.ORACLE,
)


@pytest.fixture
def data_dir():
    """The data folder, with its links and images."""
    found = Path(os.environ["DOPT_DATA"])
    if not (found / "bandwidth_core").is_dir():
        pytest.skip("DOPT_DATA names no folder with bandwidth_core/")
    return found


@pytest.fixture(scope="module")
def built():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DOPT_DATA", raising=False)
        return {name: BUILDERS[type(SMOKE[name])].build(SMOKE[name], None) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_smoke_presets_build(name, built):
    study = built[name]
    assert (study.name, study.axis) == (name, "time")
    assert len(study.regimes) == (2 if name == "kimad-traces" else 1)
    for regime in study.regimes:
        assert tuple(entry.label for entry in regime.entries) == LABELS
        assert regime.problem.n == regime.cluster.n
        looks = [STYLES[label] for label in LABELS]
        for part in ("color", "marker"):
            assert len({getattr(look, part) for look in looks}) == len(looks)
    assert not set(study.tune_seeds) & set(study.report_seeds)


@pytest.mark.parametrize("name", NAMES)
def test_rows_differ_in_budgets_alone(name, built):
    """All but the first are one method whose compiled program is the same but for the rule."""
    for regime in built[name].regimes:
        _, *others = regime.entries
        for entry in others:
            for variant in entry.variants:
                assert isinstance(variant.method, Kimad)
                fixed = entry.label in (kimad.BEST_FIXED, kimad.SAME_BUDGET)
                assert isinstance(variant.method.spending, FixedBudget if fixed else RoundTime)
                if not fixed:
                    knows = isinstance(variant.method.spending.monitor, Oracle)
                    assert knows == (entry.label == kimad.ORACLE)
        programs = {v.method.computing() for e in others for v in e.variants}
        assert len(programs) == 2  # with and without values


def test_the_same_budget_is_nearest_to_the_mean_of_kimad(built):
    regime = built["kimad-mnist"].regimes[0]
    _, _, same, follows, *_ = regime.entries
    method = follows.variants[0].method
    schedule = schedule_of(built["kimad-mnist"], regime, method)
    within = method.compressor
    sizes = within.header_bits + within.table(np.float32).sum(axis=0)
    costs = regime.costs(method)
    longer = kimad.observe(
        method.policy(costs, regime.problem.d), costs, steps=kimad.ROUNDS_SEEN
    ).timings
    mean = np.mean([t.up_bits for t in longer])
    found = same.variants[0].method.spending.up
    assert found in sizes
    others = np.abs(np.log(sizes / mean))
    assert abs(math.log(found / mean)) == pytest.approx(others.min())
    assert regime.limits.steps == schedule.K


def test_layers_are_the_arrays_of_the_network(built):
    problem = built["kimad-mnist"].regimes[0].problem
    method = built["kimad-mnist"].regimes[0].entries[3].variants[0].method
    shapes = leaf_names(problem.params).values()
    assert method.compressor.sizes == tuple(math.prod(shape) for shape in shapes)


def test_stand_ins_without_a_folder(monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    for name, (_, (low, high)) in SETS.items():
        links = links_of(name, None)
        assert "random walks" in links.source
        rates = [rate.at(t) / 1e6 for rate in links.rates for t in np.linspace(0, 500, 20)]
        assert low <= min(rates) <= max(rates) <= high
        assert low < links.mean / 1e6 < high
    with pytest.raises(ConfigurationError, match="'oboe' is no file or folder, and needs"):
        links_of("oboe", None)
    with pytest.raises(DataError, match="no data folder"):
        kimad_cifar.build(SMOKE["kimad-cifar"], None)


def test_links_of_ones_own(tmp_path):
    (tmp_path / "b.txt").write_text("0 1.0\n2 3.0\n")
    (tmp_path / "a.csv").write_text("5,2.5\n6,0\n8,1.5\n")
    links = links_of(str(tmp_path), None)
    assert [name.partition(".")[0] for name in links.names] == ["a", "b"]
    assert links.rates[0].at(0.0) == 2.5e6
    assert links.rates[1].between(0.0, 4.0) == 8e6  # 2 s of each
    assert len(links_of(str(tmp_path / "b.txt"), None).rates) == 1
    (tmp_path / "c.txt").write_text("0 nan\n")
    with pytest.raises(DataError, match=r"c\.txt"):
        links_of(str(tmp_path), None)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no files"):
        links_of(str(empty), None)


@pytest.mark.data
def test_recorded_links_are_all_of_a_set(data_dir):
    links = links_of("3g", str(data_dir))
    assert len(links.rates) == len(set(links.names)) == 80
    assert links.of_workers(79, 3) == [links.rates[79], links.rates[0], links.rates[1]]
    settings = replace(SMOKE["kimad-traces"], traces=3)
    names = [regime.name for regime in kimad_mnist.build(settings, str(data_dir)).regimes]
    assert names == ["3g, 0", "3g, 1", "3g, 2"]
    assert first_of(links, None, "3g") == range(80)
    with pytest.raises(ConfigurationError, match="traces = 81: the set 3g has 80"):
        kimad_mnist.build(replace(settings, traces=81), str(data_dir))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("kimad-quadratic", {"dimensions": (31,)}, "no three equal layers"),
        ("kimad-quadratic", {"low": 0.0}, "low = 0.0"),
        ("kimad-quadratic", {"times": (1.0,)}, r"times = \(1.0,\)"),
        ("kimad-quadratic", {"share": 1.5}, "share = 1.5"),
        ("kimad-quadratic", {"rungs": 1}, "1 rungs"),
        ("kimad-mnist", {"sets": ()}, "sets is empty"),
        ("kimad-mnist", {"samples": 1}, "too few for 2 workers"),
        ("kimad-mnist", {"times": (3.0, 3.0)}, "each round's time once"),
        ("kimad-cifar", {"low": 400.0}, "0 < low < high"),
    ],
)
def test_refusals(name, change, words, monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    settings = replace(SMOKE[name], **change)
    with pytest.raises(ConfigurationError, match=words):
        BUILDERS[type(settings)].build(settings, None)


def test_a_run_to_the_end(tmp_path, capsys, monkeypatch):
    """The smoke preset of the quadratics: tables, figures, and once more for nothing."""
    monkeypatch.setattr(kimad_rounds, "LAYER_ROUNDS", 12)  # rounds of layers are replayed plainly
    settings = SMOKE["kimad-quadratic"]
    sweep(SweepOptions(out=tmp_path, quiet=True, settings=settings))
    printed = capsys.readouterr().out
    assert all(label in printed for label in LABELS)
    runs, traces = load(tmp_path)
    assert set(runs["method"]) == set(LABELS)
    assert set(runs["status"]) <= {Status.TARGET_REACHED, Status.FINISHED}
    assert traces["time"].max() <= 4 * settings.rounds
    pictures = ("gradient_vs_time", "bandwidth_and_ratio", "round_seconds", "layers")
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in pictures)
    check_rounds(tmp_path, settings)
    before = runs.sort_values("run_id")["seconds"].to_numpy()
    sweep(SweepOptions(out=tmp_path, quiet=True, settings=settings))
    np.testing.assert_array_equal(load(tmp_path)[0].sort_values("run_id")["seconds"], before)


def check_rounds(folder, settings):
    rounds = pd.read_parquet(folder / "rounds.parquet")
    assert set(rounds["method"]) == set(LABELS)
    assert ((rounds["ratio"] > 0) & (rounds["ratio"] <= 1)).all()
    looking = rounds[rounds["seconds"].notna()]
    assert set(looking["method"]) == set(LABELS[3:])
    oracle = rounds[rounds["method"] == kimad.ORACLE]
    took = (oracle["arrived"] - oracle["start"]).groupby(oracle["round"]).max()
    least = oracle["up_bits"].min()
    forced = (oracle["up_bits"] == least).groupby(oracle["round"]).any()
    assert (took[~forced] <= oracle["seconds"].iloc[0] * (1 + 1e-9)).all()
    layers = pd.read_parquet(folder / "layers.parquet")
    assert set(layers["method"]) == {kimad.KIMAD, kimad.KIMAD_PLUS}
    assert layers.groupby(["method", "round"]).size().eq(3).all()
    assert layers.groupby("method")["round"].nunique().eq(12).all()
    uniform = layers[layers["method"] == kimad.KIMAD].groupby("round")["ratio"]
    assert (uniform.max() - uniform.min()).max() < 1e-12


def test_a_link_that_stops_ends_its_runs_with_a_status(tmp_path):
    """What came before stays; the others of the regime are not touched."""
    study = kimad_quadratic.build(SMOKE["kimad-quadratic"], None)
    (regime,) = study.regimes
    sine = Sine(400.0, 0.05, 40.0)
    dying = Recorded([0.0, 40.0], [300.0, 300.0], "stop")
    cluster = VaryingCluster([1.0, 1.0], [sine, dying], [sine, sine])
    entries = tuple(e for e in regime.entries if e.label in (kimad.KIMAD, kimad.UNCOMPRESSED))
    entries = tuple(replace_first(entry) for entry in entries)
    stops = regime._replace(cluster=cluster, entries=entries)
    study = replace(study, regimes=(stops,), factors=(0.5,), target=1e-12)
    with Store(tmp_path) as store:
        Runner(study, store, lambda advance: None, lambda: False).run()
    runs, traces = load(tmp_path)
    assert set(runs["status"]) == {Status.NO_PROGRESS}
    assert runs["reason"].str.contains("stands still for ever").all()
    last = traces.groupby("run_id", observed=True)["time"].max()
    assert ((last > 10) & (last < 90)).all()
    assert summarize(study, tmp_path)["censored"].eq(1).all()
    assert json.loads(runs["config"].iloc[0])["cluster"]["varying"]


def replace_first(entry):
    return entry._replace(variants=entry.variants[:1])


def test_tables_of_rounds_are_whole_or_absent(tmp_path, monkeypatch):
    table = pd.DataFrame({"round": [0, 1]})
    kimad_rounds._write(table, tmp_path / "rounds.parquet")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(kimad_rounds.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        kimad_rounds._write(table.iloc[:1], tmp_path / "rounds.parquet")
    assert len(pd.read_parquet(tmp_path / "rounds.parquet")) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["kimad-mnist", "kimad-traces", pytest.param("kimad-cifar", marks=pytest.mark.data)]
)
def test_smoke_runs(name, tmp_path, request):
    """The other presets, to the end."""
    data = request.getfixturevalue("data_dir") if name == "kimad-cifar" else None
    given = SweepOptions(out=tmp_path, data=data and str(data), quiet=True, settings=SMOKE[name])
    sweep(given)
    runs, _ = load(tmp_path)
    assert not runs["status"].isin([Status.FAILED, Status.NO_PROGRESS]).any()
    assert (tmp_path / ("traces.png" if name == "kimad-traces" else "layers.png")).exists()
