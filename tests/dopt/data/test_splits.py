"""Splits: partitions of the samples, their mixtures of labels, and the draws behind them."""

import numpy as np
import pytest
from scipy.stats import beta, kstest

from dopt.data import dirichlet_split, even_split, label_split, splits
from dopt.errors import ConfigurationError


LABELS = np.where(np.random.default_rng(7).random(1003) < 0.2, 1.0, -1.0)
SPLITS = {
    "even": lambda n, seed: even_split(len(LABELS), n, seed=seed),
    "label": lambda n, seed: label_split(LABELS, n, seed=seed),
    "dirichlet": lambda n, seed: dirichlet_split(LABELS, n, 0.3, seed=seed),
    "dirichlet-tiny": lambda n, seed: dirichlet_split(LABELS, n, 1e-4, seed=seed),
}


@pytest.mark.parametrize("kind", SPLITS)
@pytest.mark.parametrize("n", [1, 2, 10, 1003])
def test_parts_hold_every_sample_once_and_are_the_seeds(kind, n):
    parts = SPLITS[kind](n, 0)
    assert len(parts) == n
    assert min(len(part) for part in parts) >= 1
    assert all(np.all(np.diff(part) > 0) for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(LABELS)))
    again, other = SPLITS[kind](n, 0), SPLITS[kind](n, 1)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    if 1 < n < 1003:
        assert not all(np.array_equal(a, b) for a, b in zip(parts, other, strict=True))


@pytest.mark.parametrize("kind", ["even", "label"])
def test_sizes_differ_by_at_most_one(kind):
    assert sorted({len(part) for part in SPLITS[kind](10, 0)}) == [100, 101]


def test_even_parts_are_alike_and_labelled_parts_are_not():
    shares = [np.mean(LABELS[part] > 0) for part in SPLITS["even"](10, 0)]
    error = np.sqrt(0.2 * 0.8 / 100)
    assert np.all(np.abs(np.array(shares) - np.mean(LABELS > 0)) <= 4 * error)
    mixed = [part for part in SPLITS["label"](10, 0) if len(set(LABELS[part])) == 2]
    assert len(mixed) == 1


def test_even_split_does_not_sort_what_came_from_the_same_seed():
    values = np.random.default_rng(0).random(1000)
    first = even_split(1000, 10, seed=0)[0]
    assert abs(values[first].mean() - 0.5) <= 4 * np.sqrt(1 / 12 / 100)


@pytest.mark.parametrize("alpha", [0.05, 0.7, 20.0])
def test_shares_are_a_dirichlet_draw(alpha):
    n = 5
    words = np.random.PCG64(3).random_raw(4000 * 2 * n).reshape(4000, 2, n)
    shares = splits._dirichlet(words, alpha)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    for k in range(n):
        assert kstest(shares[:, k], beta(alpha, (n - 1) * alpha).cdf).pvalue > 1e-3


def test_alpha_sets_how_unequal_the_mixtures_are():
    def spread(alpha):
        parts = dirichlet_split(LABELS, 10, alpha, seed=2)
        return np.std([np.sum(LABELS[part] > 0) for part in parts])

    assert spread(0.1) > 2 * spread(10.0) > 2 * spread(1e5)
    assert spread(1e5) < 1


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (lambda: even_split(5, 6), "n = 6 workers for 5 samples; .*take 1 to 5"),
        (lambda: label_split(LABELS, 0), "n = 0 workers"),
        (lambda: even_split(5, 2, seed=-1), "seed = -1"),
        (lambda: dirichlet_split(LABELS, 3, 0.0), r"alpha = 0\.0"),
        (lambda: dirichlet_split(LABELS, 3, float("inf")), "alpha = inf"),
    ],
)
def test_bad_values_are_refused(split, words):
    with pytest.raises(ConfigurationError, match=words):
        split()
