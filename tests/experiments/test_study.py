"""What runs are called, which of them share a folder, and where schedules are cut."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compressors import ContractivePerLeaf, RandK, TopK
from dopt.errors import ConfigurationError
from dopt.methods import EF21, QSGD, ShadowheartSGD
from dopt.replay import record_steps
from dopt.results import canonical_json, run_id
from experiments.study import (
    Batch,
    Entry,
    Limits,
    Variant,
    check_kept,
    describe,
    longest_first,
    run_configs,
    schedule_of,
    tuning,
)
from experiments.tuned import Best


@pytest.fixture
def configs():
    """All configurations of a study, its reports at one step size."""

    def of(study):
        batches = tuning(study)
        reports = [b._replace(phase="report", seeds=study.report_seeds) for b in batches]
        return [config for b in batches + reports for config in run_configs(study, b)]

    return of


def test_every_run_of_a_study_has_a_name_of_its_own(tiny, configs):
    names = [run_id(config) for config in configs(tiny())]
    # regimes x entries x step sizes x (tuning and reporting seeds)
    assert len(names) == len(set(names)) == 2 * 2 * 3 * (2 + 2)


def test_configs_are_json_and_say_what_was_run(tiny):
    study = tiny()
    method = ShadowheartSGD(1.0, RandK(3), noise_ratio=7.0)
    batch = Batch(study.regimes[1], "mine", Variant("S = 7", method), "tune", (0.5, 2.0), (8, 9))
    configs = run_configs(study, batch)
    assert json.loads(canonical_json(configs[0])) == configs[0]
    pairs = [(config["data_seed"], config["step_size"]) for config in configs]
    assert pairs == [(8, 0.5), (8, 2.0), (9, 0.5), (9, 2.0)]
    shown = configs[0]
    assert (shown["step_sizes"], shown["tune_seeds"]) == ([0.5, 2.0], [8, 9])
    assert (shown["regime"], shown["regime_order"], shown["n"]) == ("far", 1, 5)
    assert shown["method_config"]["noise_ratio"] == 7.0
    assert shown["method_config"]["compressor"]["K"] == 3
    assert shown["method_config"]["step_size"] is None


def test_a_reported_run_is_named_without_the_other_seeds(tiny):
    study = tiny()
    (tune, *_) = tuning(study)
    few = run_configs(study, tune._replace(phase="report", factors=(0.5,), seeds=(1000,)))
    more = run_configs(study, tune._replace(phase="report", factors=(0.5,), seeds=(1000, 1001)))
    assert few == more[:1]


def test_what_a_method_is_goes_into_its_description():
    described = describe(QSGD(0.5, RandK(2)))
    assert (described["class"], described["step_size"]) == ("QSGD", 0.5)
    assert (described["compressor"]["class"], described["compressor"]["K"]) == ("RandK", 2)
    assert described["optimizer"] == "optax.sgd"
    assert described != describe(QSGD(0.5, RandK(3)))


def test_long_regimes_come_first_so_that_others_can_use_their_traces(tiny):
    assert [regime.name for regime in longest_first(tiny())] == ["far", "near"]
    assert [batch.regime.name for batch in tuning(tiny())] == ["far", "near"] * 2


@pytest.mark.parametrize("gradients", [1, 2, 63, 64, 65, 130, 131, 389])
def test_schedules_end_where_a_longer_one_records_too(tiny, gradients):
    study = tiny(gradients=gradients)
    for regime in study.regimes:
        for entry in regime.entries:
            schedule = schedule_of(study, regime, entry.variants[0].method)
            assert schedule.K in record_steps(10 * schedule.K + 10)
            records = record_steps(schedule.K)
            longer = record_steps(10 * schedule.K + 10)
            np.testing.assert_array_equal(records, longer[: len(records)])
            assert schedule.steps.gradients[-1] <= gradients
            assert schedule.time[-1] <= regime.limits.seconds


def accepts(study, kept):
    check_kept(study, [json.loads(canonical_json(config)) for config in kept], Path("results"))


def test_a_folder_of_the_same_study_is_continued(tiny, configs):
    accepts(tiny(), configs(tiny()))
    accepts(tiny(), [])


def test_a_folder_grows_by_seeds_variants_and_regimes(tiny, configs):
    more_seeds = tiny(report_seeds=(1000, 1001, 1002))
    fewer_regimes = tiny(regimes=tiny().regimes[:1])
    fewer_entries = tiny(entries=tiny().regimes[0].entries[:1])
    for before, now in ((tiny(), more_seeds), (fewer_regimes, tiny()), (fewer_entries, tiny())):
        accepts(now, configs(before))
        with pytest.raises(ConfigurationError, match=r"results holds .*--out"):
            accepts(before, configs(now))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "other"}, "runs of the study tiny, not of other"),
        ({"problem_config": {"name": "tiny", "d": 21}}, "problem.d = 20, and now problem.d = 21"),
        ({"target": 0.04}, "target = 0.05, and now target = 0.04"),
        ({"gradients": 401}, "gradients = 400, and now gradients = 401"),
        ({"timeline_seed": 3}, "timeline_seed = 0, and now timeline_seed = 3"),
        ({"factors": (0.5, 1.0)}, r"step_sizes = \[0.125, 0.25, 0.5\], and now step_sizes = "),
        ({"tune_seeds": (0, 1, 2)}, r"tune_seeds = \[0, 1\], and now tune_seeds = \[0, 1, 2\]"),
        ({"report_seeds": (1000,)}, "more seeds than 1, the number now; give more with --seeds"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_settings_are_refused_by_name(tiny, configs, change, says):
    with pytest.raises(ConfigurationError, match=says):
        accepts(tiny(**change), configs(tiny()))


def test_other_clusters_times_and_orders_are_refused_by_name(tiny, configs):
    near, far = tiny().regimes
    for regimes, says in (
        (
            (near, far._replace(limits=far.limits._replace(seconds=9.0))),
            r"seconds = .* and now seconds = 9.0",
        ),
        ((near, far._replace(cluster=near.cluster)), "cluster.sha256 = "),
        ((far, near), "regime_order = "),
        ((near,), r"Minibatch SGD \(dense\) in regime far, which this study does not have"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            accepts(tiny(regimes=regimes), configs(tiny()))


def test_a_variant_that_changed_or_is_gone_is_refused(tiny, configs):
    qsgd = Entry("QSGD", (Variant("K = 2", QSGD(1.0, RandK(2))),))
    now = Entry("QSGD", (Variant("K = 2", QSGD(1.0, RandK(3))),))
    with pytest.raises(ConfigurationError, match=r"method_config.compressor.K = 2, and now .* 3"):
        accepts(tiny(entries=(now,)), configs(tiny(entries=(qsgd,))))
    with pytest.raises(ConfigurationError, match=r"QSGD \(K = 2\) in regime far"):
        accepts(tiny(), configs(tiny(entries=(*tiny().regimes[0].entries, qsgd))))


def test_interrupted_runs_of_other_settings_are_refused_too(tiny, configs):
    """What was never finished would still be chosen from."""
    alone = configs(tiny())[:1]
    with pytest.raises(ConfigurationError, match="target"):
        accepts(replace(tiny(), target=0.01), alone)


def with_theory(study, **theory):
    """The study with step sizes of theory for the variants of its regimes."""
    regimes = []
    for regime in study.regimes:
        entries = tuple(
            Entry(
                entry.label, tuple(v._replace(theory=theory[regime.name]) for v in entry.variants)
            )
            for entry in regime.entries
        )
        regimes.append(regime._replace(entries=entries))
    return replace(study, regimes=tuple(regimes))


def test_step_sizes_are_factors_of_theory_where_there_is_one(tiny):
    study = with_theory(tiny(factors=(0.5, 1.0, 2.0)), near=0.1, far=None)
    found = {batch.regime.name: batch for batch in tuning(study)}
    assert found["near"].step_sizes == (0.05, 0.1, 0.2)
    assert found["far"].step_sizes == (0.5, 1.0, 2.0)
    shown = run_configs(study, found["near"])[2]
    assert (shown["step_size"], shown["theory_step_size"], shown["factor"]) == (0.2, 0.1, 2.0)
    shown = run_configs(study, found["far"])[2]
    assert (shown["step_size"], shown["theory_step_size"], shown["factor"]) == (2.0, None, 2.0)


def test_another_theory_is_another_study(tiny, configs):
    before = with_theory(tiny(), near=0.1, far=0.2)
    accepts(before, configs(before))
    reports = [config for config in configs(before) if config["phase"] == "report"]
    with pytest.raises(ConfigurationError, match=r"theory_step_size = 0.2, and now .* = 0.3"):
        accepts(with_theory(tiny(), near=0.1, far=0.3), reports)


def test_one_variant_and_one_factor_need_no_tuning(tiny, configs):
    study = tiny(factors=(0.5,))
    assert tuning(study) == []
    (regime, *_) = study.regimes
    choice = study.choice(regime, regime.entries[0], pd.DataFrame(), pd.DataFrame())
    assert choice == Best("dense", 0.5, 0.5, trials=1, at_edge=False)
    accepts(study, [c for c in configs(study) if c["phase"] == "report"])
    two = Entry("QSGD", tuple(Variant(f"K = {K}", QSGD(1.0, RandK(K))) for K in (1, 2)))
    assert [b.label for b in tuning(tiny(factors=(0.5,), entries=(*regime.entries, two)))] == [
        "QSGD"
    ] * 4


def test_regimes_have_entries_of_their_own(tiny):
    near, far = tiny().regimes
    study = tiny(regimes=(near._replace(entries=near.entries[1:]), far))
    asked = [(batch.label, batch.regime.name) for batch in tuning(study)]
    assert sorted(asked) == [
        ("Asynchronous SGD", "far"), ("Asynchronous SGD", "near"), ("Minibatch SGD", "far"),
    ]  # fmt: skip
    assert len({label for label, _ in asked[:2]}) == 1  # regimes of a method after each other


@pytest.mark.parametrize(("limits", "K"), [({"steps": 7}, 7), ({"bits": 32 * 20 * 9 + 5}, 9)])
def test_steps_and_bits_end_a_schedule(limits, K, tiny):
    for regime in tiny(**limits).regimes:
        method = regime.entries[0].variants[0].method
        schedule = schedule_of(tiny(**limits), regime, method)
        bits = method.message_bits(20, regime.problem.dtype, 5)
        assert bits in (32 * 20, 64 * 20)
        wide = bits == 64 * 20 and "bits" in limits
        assert (K // 2 if wide else K) == schedule.K


def test_limits_are_told():
    assert str(Limits(seconds=0.5, gradients=400)) == "400 gradients or 0.5 virtual seconds"
    assert str(Limits(steps=3, bits=64)) == "3 server steps or 64 bits per worker"


def test_tuples_of_a_method_are_described_part_by_part():
    layers = ContractivePerLeaf((TopK(2), TopK(1)), (4, 2))
    described = describe(EF21(1.0, layers))
    assert json.loads(canonical_json(described)) == described
    assert [part["K"] for part in described["compressor"]["compressors"]] == [2, 1]
