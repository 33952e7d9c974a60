import math

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.evaluation.per_token import PerToken, paired_difference


def drawn(random, N, shared=None):
    """Sums of tokens of mean 3, with what is common to a window besides."""
    counts = random.integers(200, 300, N)
    common = random.normal(0, 0.5, N) if shared is None else shared
    return PerToken(counts * (3 + common) + np.sqrt(counts) * random.normal(size=N), counts, "w")


def test_mean_weighs_tokens_and_equal_windows_have_the_usual_error():
    found = PerToken(np.array([2.0, 9.0]), np.array([1, 3]), "w")
    assert found.mean == 11 / 4
    sums = np.array([5.0, 7.0, 12.0, 4.0])
    equal = PerToken(sums, np.full(4, 10), "w")
    assert equal.error == pytest.approx(np.std(sums / 10, ddof=1) / 2)
    assert math.isnan(PerToken(sums[:1], np.array([10]), "w").error)


def test_the_error_is_the_spread_of_the_mean():
    random = np.random.default_rng(0)
    runs = [drawn(random, 60) for _ in range(2000)]
    spread = np.std([run.mean for run in runs])
    assert np.mean([run.error for run in runs]) == pytest.approx(spread, rel=0.05)


def test_pairs_lose_what_both_share():
    random = np.random.default_rng(1)
    shared = random.normal(0, 0.5, 60)
    a = drawn(random, 60, shared)
    b = PerToken(a.sums + 0.1 * a.counts + random.normal(size=60), a.counts, "w")
    found = paired_difference(b, a)
    assert found.mean == pytest.approx(b.mean - a.mean)
    assert abs(found.mean - 0.1) < 5 * found.error
    assert found.error < 0.02 * math.hypot(a.error, b.error)
    with pytest.raises(ConfigurationError, match="measured on different windows"):
        paired_difference(a, PerToken(b.sums, b.counts, "other"))
