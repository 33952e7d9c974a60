from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors._largest import (
    FEW,
    above_threshold,
    at_or_above,
    cut,
    largest,
    magnitudes,
    one_by_one,
    padded,
)


LARGEST = jax.jit(largest, static_argnums=1)
CUT = jax.jit(lambda u, K, spare: cut(u, K, spare=spare), static_argnums=2)


def order(x):
    """All indices by decreasing magnitude, NaN first, equal ones by the lowest index."""
    size = np.abs(np.asarray(x, np.float64))
    return np.argsort(-np.where(np.isnan(size), np.inf, size), kind="stable")


@partial(jax.jit, static_argnums=1)
def both_forms(x, K):
    u = magnitudes(x)
    return one_by_one(u, K), above_threshold(u, K)


def check(x, K):
    by_rank, by_index = both_forms(x, K)
    assert by_rank.dtype == by_index.dtype == jnp.int32
    np.testing.assert_array_equal(by_rank, order(x)[:K])
    np.testing.assert_array_equal(by_index, np.sort(order(x)[:K]))


VECTORS = {
    "gaussian": lambda rng, d: rng.standard_normal(d),
    "heavy-tailed": lambda rng, d: rng.standard_t(1.0, d),
    "constant": lambda rng, d: np.full(d, -4 / 3),
    "zero": lambda rng, d: np.zeros(d),
    "few values": lambda rng, d: rng.integers(-2, 3, d).astype(float),
    "sorted": lambda rng, d: np.linspace(0.0, 1.0, d),
    "one-hot": lambda rng, d: np.eye(1, d, d // 3)[0],
    "all large ones in one block": lambda rng, d: np.where(np.arange(d) < d // 8, 9.0, 0.1),
    "subnormal": lambda rng, d: 5e-324 * rng.integers(0, 9, d),
    "infinite": lambda rng, d: np.where(rng.random(d) < 0.3, -np.inf, 1.0),
}


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize(("d", "K"), [(1, 1), (37, 5), (300, 300), (1000, 7), (5000, 40)])
def test_both_forms_agree_with_a_stable_sort(vector, d, K):
    check(VECTORS[vector](np.random.default_rng(d), d), K)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_every_float_dtype_has_its_order(dtype):
    x = jnp.asarray(np.random.default_rng(0).standard_normal(2000)).astype(dtype)
    check(x.at[1000].set(jnp.nan), 30)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=70, max_size=70), st.sampled_from([1, 5, 70]))
def test_ties_go_to_the_lowest_index(entries, K):
    check(np.asarray(entries, np.float32), K)


def test_a_large_vector():
    x = np.random.default_rng(3).standard_normal(200_003).astype(np.float32)
    for K in (1, 2000, 90_000):
        expected = np.sort(order(x)[:K])
        np.testing.assert_array_equal(np.sort(LARGEST(x, K)), expected)


def test_few_come_by_rank_and_many_by_index():
    x = jnp.asarray(np.random.default_rng(0).standard_normal(200))
    assert LARGEST(x, FEW).tolist() == order(x)[:FEW].tolist()
    assert LARGEST(x, FEW + 1).tolist() == sorted(order(x)[: FEW + 1].tolist())


def test_vmap_is_the_loop():
    xs = np.random.default_rng(0).integers(-9, 10, (6, 400)).astype(np.float32)
    for K in (3, 50):
        together = jax.jit(jax.vmap(partial(largest, K=K)))(jnp.asarray(xs))
        np.testing.assert_array_equal(together, [LARGEST(x, K) for x in xs])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=64, max_size=64),
    st.integers(1, 64),
    st.sampled_from([0, 5]),
)
def test_a_cut_leaves_what_was_asked_for(entries, K, spare):
    u = np.asarray(entries, np.uint32)
    level, end = map(int, CUT(u, K, spare))
    mask = (u > level) | ((u == level) & (np.arange(64) < end))
    assert K <= mask.sum() <= K + spare
    if mask.any() and not mask.all():
        ranked = [(-int(value), i) for i, value in enumerate(u)]
        kept = [pair for pair, inside in zip(ranked, mask, strict=True) if inside]
        left = [pair for pair, inside in zip(ranked, mask, strict=True) if not inside]
        assert max(kept) < min(left)


def test_padding_loses_all_ties():
    u = padded(jnp.zeros(33, jnp.uint32))
    assert u.shape == (64,)
    assert np.flatnonzero(at_or_above(u, *cut(u, 33))).tolist() == list(range(33))
