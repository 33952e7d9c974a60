import json
import math

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from simulators.presets import PRESETS, by_name, equal, power_law, two_speeds, uniform


def plain(h, uplink):
    """Times by a loop over workers 1, …, 5 in a model with d = 16: powers of d are 16, 8, 4."""
    return lambda: ([h(i) for i in range(1, 6)], [uplink(i) for i in range(1, 6)])


LISTED = {
    "equal": plain(lambda i: 1.0, lambda i: 0.0),
    "sqrt": plain(math.sqrt, lambda i: 0.0),
    "two-speeds": plain(lambda i: 1.0 if i <= 3 else 10.0, lambda i: 0.0),
    "high": plain(math.sqrt, lambda i: math.sqrt(i) / 16),
    "medium": plain(math.sqrt, lambda i: math.sqrt(i) / 8),
    "low": plain(math.sqrt, lambda i: math.sqrt(i) / 4),
    "sqrt-flat-high": plain(math.sqrt, lambda i: 1 / 16),
    "sqrt-flat-medium": plain(math.sqrt, lambda i: 1 / 8),
    "sqrt-flat-low": plain(math.sqrt, lambda i: 1 / 4),
    "fourth-root-flat-high": plain(lambda i: i**0.25, lambda i: 1 / 16),
    "fourth-root-flat-medium": plain(lambda i: i**0.25, lambda i: 1 / 8),
    "fourth-root-flat-low": plain(lambda i: i**0.25, lambda i: 1 / 4),
    "fourth-root-medium": plain(lambda i: i**0.25, lambda i: math.sqrt(i) / 8),
    "eighth-root-medium": plain(lambda i: i**0.125, lambda i: math.sqrt(i) / 8),
    "equal-medium": plain(lambda i: 1.0, lambda i: math.sqrt(i) / 8),
    "inverse-sqrt-medium": plain(lambda i: 1 / math.sqrt(i), lambda i: math.sqrt(i) / 8),
    "equal-flat-low": plain(lambda i: 1.0, lambda i: 1 / 4),
}
DRAWN = {
    "uniform-high": lambda i: math.sqrt(i) / 16,
    "uniform-medium": lambda i: math.sqrt(i) / 8,
    "uniform-low": lambda i: math.sqrt(i) / 4,
    "uniform-cheap-links": 0.1,
    "uniform-equal-links": 1.0,
    "uniform-dear-links": 100.0,
}


def test_every_preset_is_checked_here():
    assert PRESETS.keys() == LISTED.keys() | DRAWN.keys()


@pytest.mark.parametrize("name", LISTED)
def test_presets_of_the_papers(name):
    cluster = by_name(name, n=5, d=16)
    h, uplink = LISTED[name]()
    np.testing.assert_allclose(cluster.h, h, rtol=1e-15)
    np.testing.assert_allclose(cluster.uplink, uplink, rtol=1e-15)
    assert not cluster.downlink.any()
    assert not cluster.latency.any()


@pytest.mark.parametrize("name", DRAWN)
def test_presets_with_random_times(name):
    cluster = by_name(name, n=200, d=16)
    assert 0.1 <= cluster.h.min() < 0.2 < 0.9 < cluster.h.max() <= 1.0
    rule = DRAWN[name]
    if callable(rule):
        np.testing.assert_allclose(cluster.uplink, [rule(i) for i in range(1, 201)], rtol=1e-15)
    else:
        assert 0.1 * rule <= cluster.uplink.min() < 0.2 * rule
        assert 0.9 * rule < cluster.uplink.max() <= rule
        assert abs(np.corrcoef(cluster.h, cluster.uplink)[0, 1]) < 5 / math.sqrt(200)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_own_config_and_has_a_line(name):
    assert by_name(name, n=3, d=9).to_config() == {"preset": name, "n": 3, "d": 9}
    assert len(PRESETS[name].description.splitlines()) == 1


def test_the_names_of_the_three_speeds_mean_that():
    fast, medium, slow = (by_name(name, 10, 7850).uplink for name in ("high", "medium", "low"))
    assert (fast < medium).all()
    assert (medium < slow).all()


def test_an_unknown_name_lists_the_known_ones_and_the_closest():
    with pytest.raises(ConfigurationError, match="did you mean 'medium'") as caught:
        by_name("medum", 3, 9)
    assert all(name in str(caught.value) for name in PRESETS)
    with pytest.raises(ConfigurationError, match=r"'zzzzzz' \(known"):
        by_name("zzzzzz", 3, 9)


def test_uniform_draws_are_the_stream_that_numpy_promises():
    cluster = uniform(1000, h=(0.1, 1.0), uplink=(2.0, 3.0), seed=7)
    for stream, (seconds, low, high) in enumerate([(cluster.h, 0.1, 1.0), (cluster.uplink, 2, 3)]):
        raw = np.random.PCG64([7, stream]).random_raw(1000)
        unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        np.testing.assert_allclose(seconds, low + (high - low) * unit, rtol=1e-15)
        standard_error = (high - low) / math.sqrt(12 * 1000)
        assert abs(seconds.mean() - (low + high) / 2) <= 5 * standard_error


def test_uniform_depends_on_the_seed_and_not_on_the_size():
    assert (uniform(10, seed=1).h == uniform(100, seed=1).h[:10]).all()
    assert (uniform(10, seed=1).h != uniform(10, seed=2).h).any()


@pytest.mark.parametrize(
    ("fraction", "slow"), [(0.0, 0), (0.1, 1), (0.25, 2), (0.5, 5), (0.96, 10), (1.0, 10)]
)
def test_two_speeds_counts_the_slow(fraction, slow):
    cluster = two_speeds(10, fast=1.0, slow=7.0, slow_fraction=fraction)
    assert cluster.h.tolist() == [1.0] * (10 - slow) + [7.0] * slow


@pytest.mark.parametrize(
    "cluster",
    [
        equal(3, h=2.0, uplink=0.5),
        power_law(3, 0.25, 0.75, 2.0),
        uniform(3, (1.0, 2.0), (3.0, 4.0), seed=5),
        two_speeds(4, slow=math.inf),
    ],
)
def test_recipes_are_strict_json_and_enough_to_build_the_cluster_again(cluster):
    recipe = json.loads(json.dumps(cluster.to_config(), allow_nan=False))
    build = {f.__name__: f for f in (equal, power_law, uniform, two_speeds)}[recipe.pop("preset")]
    arguments = {
        name: tuple(v) if isinstance(v, list) else float(v) if isinstance(v, str) else v
        for name, v in recipe.items()
    }
    again = build(**arguments)
    assert (again.h == cluster.h).all()
    assert (again.uplink == cluster.uplink).all()
    assert again.to_config() == cluster.to_config()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: equal(0), "n = 0; a cluster needs at least one worker"),
        (lambda: power_law(-3), "n = -3"),
        (lambda: equal(2, h=-1.0), r"h\[0\] = -1.0"),
        (lambda: equal(2, h=math.inf), "none of the 2 workers ever answers"),
        (lambda: uniform(2, h=(1.0, 0.5)), r"h = \(1.0, 0.5\) is not a range of times"),
        (lambda: uniform(2, uplink=(-1.0, 0.5)), r"uplink = \(-1.0, 0.5\)"),
        (lambda: uniform(2, h=(0.0, math.nan)), r"h = \(0.0, nan\)"),
        (lambda: uniform(2, seed=-1), "seed = -1"),
        (lambda: two_speeds(2, slow_fraction=1.5), "slow_fraction = 1.5"),
        (lambda: by_name("low", 3, 0), "d = 0"),
    ],
)
def test_bad_parameters_are_refused(build, message):
    with pytest.raises(ConfigurationError, match=message):
        build()
