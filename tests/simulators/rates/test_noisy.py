"""Noise of bandwidths: its law, its independence of what was asked before, its integral."""

import math

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from simulators.rates import Constant, Noisy, Recorded, Sine
from simulators.rates._cells import BLOCK


def factors(seed, spread, cells, first=0):
    rate = Noisy(Constant(1.0), spread, every=1.0, seed=seed)
    return np.array([rate.at(j + 0.5) for j in range(first, first + cells)])


def test_factors_are_lognormal_with_mean_one():
    spread, cells = 0.5, 20_000
    drawn = factors(12, spread, cells)
    z = (np.log(drawn) + spread**2 / 2) / spread
    assert abs(z.mean()) * math.sqrt(cells) < 4.5
    assert abs(z.var() - 1) * math.sqrt(cells / 2) < 4.5
    assert abs((z**3).mean()) * math.sqrt(cells / 15) < 4.5
    neighbours = (z[1:] * z[:-1]).mean(), (z[BLOCK // 2 :] * z[: -BLOCK // 2]).mean()
    assert np.abs(neighbours).max() * math.sqrt(cells) < 4.5
    standard_error = math.sqrt((math.exp(spread**2) - 1) / cells)
    assert abs(drawn.mean() - 1) < 4.5 * standard_error
    # The same test finds a mean that is not 1.
    assert abs((drawn * math.exp(spread**2 / 2)).mean() - 1) > 4.5 * standard_error


def test_a_factor_depends_on_seed_and_cell_only():
    cells = 3 * BLOCK
    forward = factors(5, 0.3, cells)
    rate = Noisy(Constant(1.0), 0.3, every=1.0, seed=5)
    backward = [rate.at(j + 0.5) for j in reversed(range(cells))]
    assert forward.tolist() == backward[::-1]
    assert len(set(forward.tolist())) == cells
    assert not set(forward.tolist()) & set(factors(6, 0.3, cells).tolist())


def test_it_is_the_base_times_the_factor_of_the_cell():
    base = Sine(3.0, 0.7, 1.0)
    rate, plain = Noisy(base, 0.4, 0.25, seed=9), Noisy(Constant(1.0), 0.4, 0.25, seed=9)
    total, edge = 0.0, 0.0
    for j in range(600):
        following = (j + 1) * 0.25
        level = plain.at(edge)
        assert rate.at(edge) == level * base.at(edge)
        total += level * base.between(edge, following)
        assert rate.amount(following) == pytest.approx(total, rel=1e-12)
        edge = following
    assert rate.mean() == base.mean()


def test_without_spread_it_is_the_base():
    base = Recorded([0, 3, 4, 9], [5.0, 0.0, 2.0, 1.0])
    rate = Noisy(base, 0.0, every=0.7)
    for start, amount in ((0.0, 3.0), (3.2, 8.0), (100.0, 1000.0)):
        assert rate.end(start, amount) == pytest.approx(base.end(start, amount), rel=1e-12)


def test_a_base_that_ends_or_rests_long_is_no_endless_search():
    stops = Noisy(Recorded([0, 1], [2.0, 2.0], "stop"), 0.2, every=0.01, seed=1)
    left = stops.between(0.0, 5.0)
    assert stops.when(left * (1 - 1e-9)) == pytest.approx(2.0, rel=1e-6)
    assert stops.when(left * 1.01) == math.inf
    rests = Noisy(Recorded([0, 1, 1e9], [2.0, 0.0, 2.0], "hold"), 0.2, every=0.01, seed=1)
    assert rests.when(10.0) == pytest.approx(1e9 + 4, abs=2.0)


def test_questions_across_too_many_cells_are_refused():
    rate = Noisy(Constant(1.0), 0.2, every=1e-9)
    with pytest.raises(ConfigurationError, match=r"more than 2\^24 cells"):
        rate.between(0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 1.0), "spread = -0.1"),
        ((0.1, 0.0), "every = 0.0"),
        ((0.1, 1.0, -1), "seed = -1"),
        ((0.1, 1.0, 2**64), "give an integer from 0 to"),
    ],
)
def test_what_is_no_noise_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Noisy(Constant(1.0), *arguments)
