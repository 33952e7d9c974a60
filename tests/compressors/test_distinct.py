from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from compressors import _distinct
from compressors._distinct import (
    COMPARE_AT_MOST,
    below,
    distinct,
    earliest,
    first_seen,
    floyd,
    left_over,
)
from compressors.kernels.threefry import random_words


BELOW, FLOYD, FIRST_SEEN, LEFT_OVER, DISTINCT = (
    jax.jit(below),
    *(jax.jit(form, static_argnums=(1, 2)) for form in (floyd, first_seen, left_over, distinct)),
)


@pytest.mark.parametrize(("d", "K"), [(1, 1), (5, 2), (6, 3), (9, 9), (7850, 10)])
def test_floyds_sampling_by_hand(d, K):
    for seed in range(5):
        key = jax.random.key(seed)
        draws = np.asarray(BELOW(key, jnp.arange(d - K + 1, d + 1, dtype=jnp.int32)))
        chosen: list[int] = []
        for j, t in zip(range(d - K, d), draws.tolist(), strict=True):
            chosen.append(j if t in chosen else t)
        assert FLOYD(key, K, d).tolist() == chosen


@pytest.mark.parametrize(("d", "K"), [(60, 20), (1000, 500), (7850, 130)])
def test_first_seen_by_hand(d, K):
    for seed in range(3):
        key = jax.random.key(seed)
        length = K + -(-K * K // d) + _distinct.SPARE
        draws = BELOW(jax.random.fold_in(key, 0), jnp.full(length, d, jnp.int32))
        seen = list(dict.fromkeys(np.asarray(draws).tolist()))
        assert FIRST_SEEN(key, K, d).tolist() == seen[:K]


def test_a_run_with_too_few_distinct_values_is_drawn_anew(monkeypatch):
    """Runs without spare draws often fall short; their subsets are as uniform as others."""
    monkeypatch.setattr(_distinct, "SPARE", -1)
    check_uniform(first_seen, 6, 3)


def test_left_over_is_the_rest():
    key = jax.random.key(0)
    for d, K in ((10, 9), (300, 200)):
        out = set(DISTINCT(key, d - K, d).tolist())
        assert LEFT_OVER(key, K, d).tolist() == [j for j in range(d) if j not in out]


def check_uniform(form, d, K):
    keys = jax.random.split(jax.random.key(1), 20_000)
    chosen = np.sort(jax.jit(jax.vmap(lambda key: form(key, K, d)))(keys), axis=1)
    codes = (chosen * d ** np.arange(K)).sum(axis=1)
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == len(list(combinations(range(d), K)))
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("form", [floyd, first_seen, left_over, distinct])
@pytest.mark.parametrize(("d", "K"), [(6, 1), (6, 3), (7, 4)])
def test_subsets_are_equally_likely(form, d, K):
    check_uniform(form, d, K)


@pytest.mark.parametrize(
    ("d", "K"),
    [
        (1, 1),
        (9, 9),
        (7850, 1),
        (COMPARE_AT_MOST + 8, COMPARE_AT_MOST + 1),
        (2 * COMPARE_AT_MOST + 2, COMPARE_AT_MOST + 1),
        (2 * COMPARE_AT_MOST + 1, COMPARE_AT_MOST + 1),
        (600, 599),
        (600, 600),
        (100_003, 5000),
    ],
)
def test_indices_are_distinct_and_in_range(d, K):
    chosen = np.asarray(DISTINCT(jax.random.key(5), K, d))
    assert chosen.dtype == np.int32
    assert chosen.shape == (K,)
    assert len(set(chosen.tolist())) == K
    assert chosen.min() >= 0
    assert chosen.max() < d


def test_vmap_is_the_loop():
    keys = jax.random.split(jax.random.key(3), 4)
    for d, K in ((500, 3), (500, 200), (500, 400)):
        np.testing.assert_array_equal(
            jax.vmap(lambda key, K=K: DISTINCT(key, K, 500))(keys),
            [DISTINCT(key, K, d) for key in keys],
        )


def test_a_draw_is_the_high_word_of_a_product():
    bounds = [1, 2, 3, 1000, 2**16 - 1, 2**16, 2**16 + 1, 10**7, 2**31 - 1] * 50
    key = jax.random.key(3)
    words = np.asarray(random_words(key, len(bounds)))
    expected = [bound * int(word) >> 32 for bound, word in zip(bounds, words, strict=True)]
    drawn = below(key, jnp.asarray(bounds, jnp.int32))
    assert drawn.dtype == jnp.int32
    assert drawn.tolist() == expected


def test_the_extreme_words_stay_in_range(monkeypatch):
    bounds = jnp.asarray([1, 7, 2**16, 10**7, 2**31 - 1], jnp.int32)
    for word, expected in ((0, bounds * 0), (2**32 - 1, bounds - 1)):
        drawn = jnp.full(bounds.shape, word, jnp.uint32)
        monkeypatch.setattr(_distinct, "random_words", lambda key, count, drawn=drawn: drawn)
        assert below(jax.random.key(0), bounds).tolist() == expected.tolist()


def test_draws_are_uniform():
    draws = np.asarray(below(jax.random.key(2), jnp.full(70_000, 7, jnp.int32)))
    assert chisquare(np.bincount(draws)).pvalue > 1e-4


@pytest.mark.parametrize("places", [1, 4])
@pytest.mark.parametrize(("d", "L"), [(3, 1), (3, 40), (50, 40), (1000, 40), (2**31 - 1, 40)])
def test_the_earliest_of_equals(monkeypatch, d, L, places):
    monkeypatch.setattr(_distinct, "PLACES", places)
    rng = np.random.default_rng(d)
    draws = rng.integers(0, d, L)
    # Equal draws, and different ones that share a place of the table, lie between each other.
    draws[L // 2 :] = np.where(rng.random(L - L // 2) < 0.5, draws[: L - L // 2], draws[0])
    expected = [value not in draws[:i] for i, value in enumerate(draws)]
    assert earliest(jnp.asarray(draws, jnp.int32), d).tolist() == expected
