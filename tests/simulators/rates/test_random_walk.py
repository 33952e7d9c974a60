"""Random walks: their steps, their bounds, their stationary law."""

import math

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from simulators.rates import RandomWalk
from simulators.rates._cells import BLOCK


def logs(rate, cells):
    """The logarithm in each cell, from 0 at `low` to 1 at `high`."""
    values = np.array([rate.at((j + 0.5) * rate.every) for j in range(cells)])
    return np.log(values / rate.low) / math.log(rate.high / rate.low)


def test_steps_are_normal_far_from_the_bounds_and_bounds_hold():
    rate = RandomWalk(1.0, math.e**2, step=0.02, every=0.5, seed=3)
    walk = 2 * logs(rate, 20_000)
    assert walk.min() >= -1e-12
    assert walk.max() <= 2 + 1e-12
    steps = np.diff(walk)[(walk[:-1] > 0.2) & (walk[:-1] < 1.8)]
    assert len(steps) > 10_000
    z = steps / 0.02
    assert abs(z.mean()) * math.sqrt(len(z)) < 4.5
    assert abs(z.var() - 1) * math.sqrt(len(z) / 2) < 4.5
    assert np.abs(np.diff(walk)).max() < 6 * 0.02


def test_the_walk_is_a_fold_of_a_free_one_across_blocks():
    """Unfolding by the bounds alone gives back steps that are joined at the edges of blocks."""
    rate = RandomWalk(1.0, math.e, step=0.01, every=1.0, seed=8)
    steps = np.abs(np.diff(logs(rate, 4 * BLOCK)))
    edges = steps[BLOCK - 1 :: BLOCK]
    assert len(edges) == 3
    assert edges.max() < 0.05
    assert len(np.unique(steps.round(14))) == len(steps)


def test_the_logarithm_is_uniform_from_the_start_and_the_mean_follows():
    walks = [RandomWalk(2.0, 50.0, step=0.4, every=1.0, seed=seed) for seed in range(700)]
    for t in (0.0, 7.5):
        drawn = np.array([walk.at(t) for walk in walks])
        places = np.log(drawn / 2) / math.log(25)
        assert abs(places.mean() - 0.5) < 4.5 * math.sqrt(1 / 12 / len(places))
        assert abs(places.var() - 1 / 12) < 4.5 * math.sqrt(1 / 180 / len(places))
        error = drawn.std() / math.sqrt(len(drawn))
        assert abs(drawn.mean() - walks[0].mean()) < 4.5 * error


def test_what_was_asked_before_changes_nothing():
    one, other = (RandomWalk(1.0, 9.0, 0.3, 1.0, seed=4) for _ in range(2))
    late = one.at(5e4)
    early = [one.at(float(t)) for t in range(0, 2000, 7)]
    assert [other.at(float(t)) for t in range(0, 2000, 7)] == early
    assert other.at(5e4) == late


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 1.0, 1.0), "low = 0.0"),
        ((2.0, 2.0, 1.0, 1.0), "give low < high, or a Constant"),
        ((1.0, 2.0, 0.0, 1.0), "step = 0.0"),
        ((1.0, 2.0, 1.0, math.nan), "every = nan"),
        ((1.0, 2.0, 1.0, 1.0, -1), "seed = -1"),
    ],
)
def test_what_is_no_walk_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        RandomWalk(*arguments)
