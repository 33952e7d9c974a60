from functools import partial
from itertools import combinations, product
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from compressors._distinct import COMPARE_AT_MOST, _compared, _tabulated, distinct


def floyd(draws, d):
    chosen = []
    for j, t in zip(range(d - len(draws), d), draws, strict=True):
        chosen.append(j if t in chosen else t)
    return chosen


@partial(jax.jit, static_argnums=1)
def both_forms(draws, d):
    """The two implementations on the same draws, a batch of them [B, K]."""
    last = jnp.arange(d - draws.shape[1], d, dtype=jnp.int32)
    compared = jax.vmap(lambda row: _compared(row, last))(draws)
    tabulated = jax.vmap(lambda row: _tabulated(row, last, d))(draws)
    return compared, tabulated


@pytest.mark.parametrize(("d", "K"), [(1, 1), (5, 1), (5, 2), (6, 3), (5, 5)])
def test_every_subset_comes_from_equally_many_draws(d, K):
    draws = list(product(*(range(j + 1) for j in range(d - K, d))))
    for chosen in both_forms(jnp.asarray(draws, jnp.int32), d):
        subsets = [tuple(sorted(row)) for row in chosen.tolist()]
        counts = {subset: subsets.count(subset) for subset in set(subsets)}
        assert counts == dict.fromkeys(combinations(range(d), K), factorial(K))


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([(1, 1), (7, 3), (50, 50)]))
def test_both_forms_are_floyds(data, shape):
    d, K = shape
    draws = [data.draw(st.integers(0, j)) for j in range(d - K, d)]
    compared, tabulated = both_forms(jnp.asarray([draws], jnp.int32), d)
    assert compared[0].tolist() == tabulated[0].tolist() == floyd(draws, d)


@pytest.mark.parametrize(("d", "K"), [(6, 1), (6, 3), (7, 5)])
def test_subsets_are_equally_likely(d, K):
    keys = jax.random.split(jax.random.key(1), 20_000)
    chosen = np.sort(jax.jit(jax.vmap(lambda key: distinct(key, K, d)))(keys), axis=1)
    codes = (chosen * d ** np.arange(K)).sum(axis=1)
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == len(list(combinations(range(d), K)))
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(
    ("d", "K"),
    [(1, 1), (9, 9), (7850, 1), (COMPARE_AT_MOST + 8, COMPARE_AT_MOST + 1), (600, 600)],
)
def test_indices_are_distinct_and_in_range(d, K):
    chosen = np.asarray(distinct(jax.random.key(5), K, d))
    assert chosen.dtype == np.int32
    assert chosen.shape == (K,)
    assert len(set(chosen.tolist())) == K
    assert chosen.min() >= 0
    assert chosen.max() < d


def test_the_choice_of_form_does_not_show():
    for K in (COMPARE_AT_MOST, COMPARE_AT_MOST + 1):
        d = COMPARE_AT_MOST + 100
        key = jax.random.key(K)
        high = jnp.arange(d - K + 1, d + 1, dtype=jnp.int32)
        draws = jax.random.randint(key, (K,), 0, high, dtype=jnp.int32)
        assert distinct(key, K, d).tolist() == floyd(draws.tolist(), d)
