import numpy as np
import pytest
from scipy.stats import binom

from experiments.benchmarks.pairs import PAIRS, ratio


def test_the_ratio_is_that_of_pairs_not_of_medians():
    ours, theirs = [1.0, 2.0, 10.0] * 3, [2.0, 6.0, 20.0] * 3
    assert ratio(ours, theirs).median == 2.0


def test_nine_pairs_drop_the_outermost_ratio_on_each_side():
    got = ratio([1.0] * 9, [float(r) for r in (9, 1, 8, 2, 7, 3, 6, 4, 5)])
    assert got == (5.0, 2.0, 8.0)
    # The chance that the true median lies outside of them.
    assert 2 * binom.cdf(1, 9, 0.5) == pytest.approx(0.0390625)


@pytest.mark.parametrize("pairs", [PAIRS, 21])
def test_the_interval_covers_the_median(pairs):
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        got = ratio([1.0] * pairs, rng.lognormal(0.3, 1.0, pairs).tolist())
        hits += got.low <= np.exp(0.3) <= got.high
    assert hits / 2000 > 0.94
