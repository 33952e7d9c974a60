"""The studies of compressed methods: what presets build, theory in their runs, and small runs."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dopt.errors import ConfigurationError, DataError
from dopt.methods import EF21SGDM, MARINA, LocalSGD, MinibatchSGD, PowerSGD
from dopt.results import Status
from dopt.results.read import load
from dopt.theory import communication, ef21_step_size, marina_step_size
from experiments import error_feedback, marina_libsvm, marina_quadratics, mnist_network
from experiments.figures import draw
from experiments.settings import STUDIES
from experiments.style import STYLES
from experiments.summary import summarize


MODULES = {
    "marina-quadratics": marina_quadratics,
    "marina-libsvm": marina_libsvm,
    "error-feedback": error_feedback,
    "mnist-network": mnist_network,
}
SMOKE = {name: STUDIES[name].presets["smoke"].settings for name in MODULES}


@pytest.fixture(scope="module")
def built():
    """The smoke presets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DOPT_DATA", raising=False)
        return {name: MODULES[name].build(settings, None) for name, settings in SMOKE.items()}


def entry_of(regime, label):
    return next(entry for entry in regime.entries if entry.label == label)


@pytest.mark.parametrize("name", MODULES)
def test_smoke_presets_build(name, built):
    study = built[name]
    assert (study.name, study.axis) == (name, "bits")
    for regime in study.regimes:
        assert regime.limits.bits == SMOKE[name].vectors * 32 * regime.problem.d
        assert regime.limits.steps == SMOKE[name].rounds
        assert regime.problem.n == regime.cluster.n
    assert not set(study.tune_seeds) & set(study.report_seeds)
    assert len({regime.name for regime in study.regimes}) == len(study.regimes)


@pytest.mark.parametrize("name", MODULES)
def test_methods_of_a_study_look_different(name, built):
    for regime in built[name].regimes:
        looks = [STYLES[entry.label] for entry in regime.entries]
        for part in ("color", "marker"):
            assert len({getattr(look, part) for look in looks}) == len(looks)


@pytest.mark.parametrize("name", ["marina-quadratics", "marina-libsvm", "error-feedback"])
def test_theory_is_that_of_the_method_to_six_digits(name, built):
    for regime in built[name].regimes:
        for entry in regime.entries:
            for variant in entry.variants:
                if isinstance(variant.method, MinibatchSGD):
                    expected = 1 / regime.problem.constants.L.value
                else:
                    expected = variant.method.theory_step_size(
                        regime.problem.constants, regime.problem.d, regime.cluster.n
                    )
                assert variant.theory == pytest.approx(expected, rel=1e-5)
                assert float(f"{variant.theory:.6g}") == variant.theory


def test_nothing_is_known_of_networks(built):
    for regime in built["mnist-network"].regimes:
        assert all(v.theory is None for entry in regime.entries for v in entry.variants)
        kinds = [type(entry.variants[0].method) for entry in regime.entries]
        assert {PowerSGD, LocalSGD, EF21SGDM, MinibatchSGD} <= set(kinds)
    assert built["mnist-network"].measure == "value"


def test_marina_sends_least_in_theory():
    """At its p, C(p) is as small as on a grid; and γ is the theorem's, by hand."""
    settings = replace(SMOKE["marina-quadratics"], workers=(64,), dimension=64, spreads=(0.0, 0.5))
    equal, different = marina_quadratics.build(settings, None).regimes
    d, n, c = 64, 64, (32 + 64) / (32 * 64)
    for regime, A in ((equal, d / n**2), (different, (d - 1) / n)):
        L, L_plus = (getattr(regime.problem.constants, name).value for name in ("L", "L_plus"))
        (variant,) = entry_of(regime, "MARINA, CQ").variants
        p, noise = variant.method.p, A * L_plus**2 / L**2
        grid = np.geomspace(1e-5, 1, 4001)
        least = min(communication(float(q), c, noise) for q in grid)
        assert communication(p, c, noise) <= least * (1 + 1e-6)
        assert variant.theory == pytest.approx(
            1 / (L + math.sqrt((1 - p) / p * A) * L_plus), rel=1e-5
        )
    # PermK averages equal vectors without error, and wants no dense rounds at all.
    (variant,) = entry_of(equal, "MARINA, PermK").variants
    assert variant.method.p == pytest.approx(0.01 / 64, rel=1e-3)
    assert variant.theory == pytest.approx(1 / equal.problem.constants.L.value, rel=1e-5)


def test_real_sets_are_the_default_where_there_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    few = replace(SMOKE["marina-libsvm"], datasets=None)
    (regime,) = marina_libsvm.build(few, None).regimes
    assert regime.problem_config["source"].startswith("scikit-learn's breast cancer")
    with pytest.raises(DataError, match="no LIBSVM set w8a"):
        marina_libsvm.build(few, str(tmp_path))
    with pytest.raises(DataError, match="no LIBSVM set a9a"):
        error_feedback.build(replace(SMOKE["error-feedback"], dataset=None), str(tmp_path))


@pytest.mark.parametrize("split", ["even", "label", "dirichlet"])
def test_samples_are_split_as_asked(split):
    settings = replace(SMOKE["marina-libsvm"], split=split, workers=3)
    (regime,) = marina_libsvm.build(settings, None).regimes
    assert (regime.problem.n, regime.problem_config["split"]) == (3, split)


def test_ef21_by_hand(built):
    (regime,) = built["marina-libsvm"].regimes
    (variant,) = entry_of(regime, "EF21, TopK").variants
    assert variant.name == f"K = {math.ceil(0.2 * 30)}"
    L, L_plus = (getattr(regime.problem.constants, name).value for name in ("L", "L_plus"))
    assert variant.theory == pytest.approx(ef21_step_size(L, L_plus, 6 / 30), rel=1e-5)
    (variant,) = entry_of(regime, "MARINA, RandK").variants
    p = variant.method.p
    L_pm = regime.problem.constants.L_pm.value
    expected = marina_step_size(L, L_plus, L_pm, 4 / 5, 0.0, p)
    assert variant.theory == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("marina-quadratics", {"dimension": 0}, "dimension = 0 must be at least 1"),
        ("marina-quadratics", {"workers": ()}, "workers is empty"),
        ("marina-quadratics", {"spreads": (0.0, 0.0)}, "give each of them once"),
        ("marina-quadratics", {"target": 1e9}, "already met at x⁰ in n = 4, λ = 0"),
        ("marina-quadratics", {"target": 0.0}, "target = 0.0 must be positive"),
        ("marina-quadratics", {"factors": (1, 0)}, r"factors = \(1, 0\): give exponents"),
        ("marina-quadratics", {"tune_seeds": 1001}, "no seed does both"),
        ("marina-quadratics", {"timeline_seed": -1}, "timeline_seed = -1"),
        ("marina-libsvm", {"kept": (1.5,)}, "1.5 is no share"),
        ("marina-libsvm", {"datasets": ()}, "datasets is empty"),
        ("error-feedback", {"kept": 0.0}, "kept = 0.0 is no share"),
        ("error-feedback", {"momenta": (0.5, 2.0)}, "2.0 is no weight"),
        ("error-feedback", {"batches": (1, -1)}, "-1 must be at least 0"),
        ("mnist-network", {"networks": ("resnet",)}, "'resnet' is neither"),
        ("mnist-network", {"kept": 2.0}, "kept = 2.0 is no share"),
        ("mnist-network", {"momentum": 0.0}, "momentum = 0.0"),
        ("mnist-network", {"target": 9.0}, "already met at x⁰ in perceptron"),
    ],
)
def test_bad_settings_are_refused(name, change, says):
    with pytest.raises(ConfigurationError, match=says):
        MODULES[name].build(replace(SMOKE[name], **change), None)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("preset", ["smoke", "quick", "full"])
def test_presets_keep_to_what_is_allowed(name, preset, monkeypatch):
    """Everything that is checked before data are loaded."""

    def stop(*args, **options):
        raise RuntimeError("data are loaded")

    monkeypatch.setattr(marina_quadratics.HeterogeneousQuadratics, "draw", stop)
    for module in (marina_libsvm, error_feedback):
        monkeypatch.setattr(module, "sets_of", stop)
    monkeypatch.setattr(mnist_network, "load_mnist", stop)
    with pytest.raises(RuntimeError, match="data are loaded"):
        MODULES[name].build(STUDIES[name].presets[preset].settings, None)


@pytest.fixture(scope="module")
def ran(run_study, built, tmp_path_factory):
    """The smoke presets without tuning, in their first regime: folder and study."""

    def run(name):
        study = built[name]
        regime = study.regimes[0]
        if name == "mnist-network":  # its programs take longest to compile
            regime = regime._replace(entries=regime.entries[::2])
        few = replace(study, factors=(study.factors[0],), regimes=(regime,))
        folder = tmp_path_factory.mktemp(name)
        run_study(few, folder)
        return few, folder

    return run


@pytest.mark.parametrize("name", MODULES)
def test_a_small_run_has_its_figures_and_its_table(name, ran):
    study, folder = ran(name)
    runs, traces = load(folder)
    (regime,) = study.regimes
    assert set(runs["phase"]) == {"report"}
    assert len(runs) == len(regime.entries) * len(study.report_seeds)
    assert set(runs["status"]) <= {Status.FINISHED, Status.TARGET_REACHED}
    for row in runs.to_dict("records"):
        config = json.loads(row["config"])
        assert (config["axis"], config["measure"]) == ("bits", study.measure)
        assert row["factor"] == config["factor"] == study.factors[0]
        theory = config["theory_step_size"]
        assert (theory is None) == math.isnan(row["theory_step_size"])
        assert row["step_size"] == row["factor"] * (theory or 1.0)
    # What a worker has sent never exceeds the limit, and some method comes near it.
    sent = traces["bits_up"].max() / regime.cluster.n
    assert 0 < sent <= regime.limits.bits
    table = summarize(study, folder)
    assert set(table["method"]) == {entry.label for entry in regime.entries}
    assert (table["trials"] == 1).all()
    assert not table["at_edge"].any()
    assert list(table["bits_to_target"]) == sorted(table["bits_to_target"])
    names = [path.stem for path in draw(folder) if path.suffix == ".png"]
    first = "loss_vs_bits" if study.measure == "value" else "gradient_vs_bits"
    assert names[0] == first
    assert ("accuracy_vs_bits" in names) == traces["accuracy"].notna().any()


def test_dense_rounds_count_in_the_bits(built, run_study, tmp_path):
    """Bits of MARINA with correlated messages: whole vectors in dense rounds, packed ones else."""
    study = built["marina-quadratics"]
    regime = study.regimes[0]._replace(entries=(entry_of(study.regimes[0], "MARINA, CQ"),))
    few = replace(study, factors=(1.0,), regimes=(regime,), report_seeds=(1000,))
    _, traces = run_study(few, tmp_path)
    d, n = regime.problem.d, regime.cluster.n
    method = regime.entries[0].variants[0].method
    assert isinstance(method, MARINA)
    coins = np.random.default_rng(study.timeline_seed).random(10_000) < method.p
    coins[0] = True
    # One bit a coordinate in words of 32, and the norm.
    each = np.where(coins, 32 * d, 32 * -(-d // 32) + 32)
    totals = np.concatenate([[0], np.cumsum(each)]) * n
    np.testing.assert_array_equal(traces["bits_up"], totals[traces["step"]])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_smoke_presets_by_the_command_line(name, dopt_says, tmp_path, monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    code, out, err = dopt_says(f"sweep {name} --preset smoke --out", tmp_path)
    assert (code, "Bits sent up by a worker" in out) == (0, True)
    assert "tune" in err
    table = pd.read_csv(tmp_path / "summary.csv")
    assert table["seeds"].min() > 0
    assert dopt_says("plot", tmp_path)[1] == out
