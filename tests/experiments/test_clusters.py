"""`--cluster FILE` in every study: whose times runs then have, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.methods import GradientDescent
from dopt.results.read import load
from experiments import kimad_cifar, kimad_mnist, mnist_network
from experiments.builders import study_of
from experiments.clusters import fixed_links, longest
from experiments.settings import STUDIES
from experiments.study import schedule_of
from simulators.cluster import TIMES, Cluster
from simulators.cluster_file import read_cluster, write_cluster
from simulators.varying import VaryingCluster


SMOKE = {name: kind.presets["smoke"].settings for name, kind in STUDIES.items()}
BITS = ("marina-quadratics", "marina-libsvm", "error-feedback", "mnist-network")
FIXED = ("kimad-quadratic", "kimad-mnist", "kimad-traces")
H, UP, DOWN, LATENCY = [0.01, 0.02, 0.04], [1e-8, 1e-8, 3e-8], 2e-8, [1e-3, 1e-3, 2e-3]


@pytest.fixture
def file(tmp_path):
    """Writes a cluster as a file in bits; three workers by default."""

    def write(h=H, uplink=UP, downlink=DOWN, latency=LATENCY):
        path = tmp_path / "mine.csv"
        write_cluster(path, Cluster(h, uplink, downlink, latency, "bit"))
        return str(path)

    return write


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)


def with_file(name, file, **changes):
    return study_of(replace(SMOKE[name], cluster=file, **changes), None)


@pytest.mark.parametrize("name", BITS)
def test_studies_on_bits_take_it_as_it_is(name, file):
    few = {"networks": ("perceptron",)} if name == "mnist-network" else {}
    study, path = with_file(name, file(), **few), file()
    assert study.axis == "bits"
    if name == "mnist-network":
        assert study.regimes[0].problem_config["samples"] == 99  # of 100, for three workers
    for regime in study.regimes:
        assert regime.title.startswith("mine.csv: ")
        assert regime.problem.n == regime.cluster.n == 3
        for each in TIMES:
            np.testing.assert_array_equal(
                getattr(regime.cluster, each), getattr(read_cluster(path), each)
            )


def test_the_file_decides_how_many_workers(file):
    """One panel a spread, whatever numbers of workers are asked for."""
    study = with_file("marina-quadratics", file(), workers=(10, 20))
    assert [regime.name for regime in study.regimes] == ["n = 3, λ = 0", "n = 3, λ = 1"]


def test_time_is_that_of_the_cluster(file, run_study, tmp_path):
    study = with_file("marina-quadratics", file(), spreads=(1.0,))
    (regime,) = study.regimes
    descent = tuple(e for e in regime.entries if e.label == GradientDescent.name)
    few = replace(study, regimes=(regime._replace(entries=descent),), factors=(1.0,), target=1e-30)
    runs, traces = run_study(few, tmp_path / "out")
    steps, times = traces["step"].to_numpy(), traces["time"].to_numpy()
    assert steps.max() > 10
    np.testing.assert_allclose(times, steps * round_of(regime), rtol=1e-6)
    assert load(tmp_path / "out")[0]["config"].str.contains('"unit":"bit"').all()
    assert len(runs) == len(study.report_seeds)


@pytest.mark.parametrize("name", FIXED)
def test_studies_of_varying_links_take_fixed_ones(name, file):
    study = with_file(name, file())
    (regime,) = study.regimes
    assert "mine.csv" in regime.title
    assert isinstance(regime.cluster, VaryingCluster)
    assert regime.problem.n == regime.cluster.n == 3
    (uncompressed,) = regime.entries[0].variants
    schedule = schedule_of(study, regime, uncompressed.method)
    assert schedule.K > 5
    np.testing.assert_allclose(np.diff(schedule.time), round_of(regime), rtol=1e-5)


def bits_of(regime):
    """Those of a dense message."""
    return 8 * np.dtype(regime.problem.dtype).itemsize * regime.problem.d


def round_of(regime):
    """Seconds of a dense round: download, gradient and upload of the slowest worker."""
    dense = bits_of(regime)
    each = zip(H, UP, LATENCY, strict=True)
    return max(h + (up + DOWN) * dense + 2 * wait for h, up, wait in each)


def test_times_of_a_round_count_in_what_takes_longest(file):
    """A gradient where links are fast; else a message of the share, its latency included."""
    study = with_file("kimad-quadratic", file(), share=0.5, times=(3.0,))
    (regime,) = study.regimes
    seconds = regime.entries[-1].variants[0].method.spending.seconds
    assert seconds == pytest.approx(3 * 0.04)
    assert regime.limits.seconds == pytest.approx(4 * SMOKE["kimad-quadratic"].rounds * 0.04)
    slow = fixed_links(file(uplink=[1e-8, 1e-3, 1e-8]))
    share = 0.5 * bits_of(regime)
    assert longest(slow, 0.5, regime.problem) == pytest.approx(1e-3 + 1e-3 * share, rel=1e-3)
    slow = fixed_links(file(downlink=[1e-8, 1e-3, 1e-8], latency=0.0))
    assert longest(slow, 0.5, regime.problem) == pytest.approx(1e-3 * share, rel=1e-3)


def test_a_broadcast_may_be_free(file):
    """Without a downlink models take no time, as on every cluster."""
    study = with_file("kimad-quadratic", file(downlink=0.0, latency=0.0))
    (regime,) = study.regimes
    assert regime.cluster.downlink is None
    for entry in regime.entries:
        assert schedule_of(study, regime, entry.variants[0].method).K > 5


@pytest.mark.parametrize("name", STUDIES)
def test_a_gradient_takes_time(name, file, monkeypatch):
    for module in (kimad_cifar, kimad_mnist, mnist_network):
        loader = "load_cifar" if module is kimad_cifar else "load_mnist"
        monkeypatch.setattr(module, loader, None)  # refused before anything is loaded
    few = {"problem": "quadratic"} if name == "heterogeneity" else {}
    with pytest.raises(ConfigurationError, match=r"mine\.csv: h = 0 of worker 1, counted from 0"):
        with_file(name, file(h=[1.0, 0.0, 1.0]), **few)


@pytest.mark.parametrize("name", [*BITS, *FIXED, "kimad-cifar"])
@pytest.mark.parametrize("time", TIMES)
def test_nobody_is_waited_for_in_vain(name, time, file):
    given = {"h": H, "uplink": UP, "downlink": [DOWN] * 3, "latency": LATENCY}
    with pytest.raises(ConfigurationError, match=f"{time} = inf of worker 2, .* wait for all"):
        with_file(name, file(**given | {time: [*given[time][:2], np.inf]}))


@pytest.mark.parametrize(
    ("uplink", "downlink"), [([0.0, 1e-8, 1e-8], DOWN), (UP, [DOWN, 0.0, DOWN])]
)
def test_links_that_are_measured_take_time(uplink, downlink, file):
    with pytest.raises(ConfigurationError, match=r"link = 0 of worker \d, .* links that take time"):
        with_file("kimad-mnist", file(uplink=uplink, downlink=downlink))


@pytest.mark.parametrize("name", ["kimad-mnist", "mnist-network"])
def test_more_workers_than_images_are_refused(name, file):
    many = file(h=[1.0] * 101, uplink=1e-8, latency=0.0)
    with pytest.raises(ConfigurationError, match="too few for 101 workers"):
        with_file(name, many)
