"""The cipher against its published vectors and JAX's own, its words against statistics."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from compressors.kernels.threefry import (
    ROUNDS,
    TAG,
    fold_in,
    random_halves,
    random_words,
    threefry2x32,
)


KEY = jax.random.key(11)


def words(*values):
    return tuple(jnp.uint32(value) for value in values)


@pytest.mark.parametrize(
    ("key", "counter", "cipher"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_vectors_of_the_authors(key, counter, cipher):
    assert tuple(map(int, threefry2x32(words(*key), words(*counter)))) == cipher


def test_the_words_are_those_of_jaxs_own_cipher():
    counters = jnp.concatenate([jnp.arange(50), jnp.full(50, TAG)]).astype(jnp.uint32)
    expected = threefry_2x32(jax.random.key_data(KEY), counters)
    np.testing.assert_array_equal(random_words(KEY, 100), expected)
    np.testing.assert_array_equal(random_words(KEY, 99), expected[:99])


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_any_count(count):
    assert random_words(KEY, count).shape == (count,)


def test_bits_are_fair_and_independent():
    drawn = np.asarray(random_words(KEY, 200_000))
    bits = (drawn[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    z = (bits.mean(0) - 0.5) / (0.5 / np.sqrt(len(drawn)))
    assert stats.kstest(z, "norm").pvalue > 1e-3
    signs = 1.0 - 2.0 * bits
    correlation = signs.T @ signs / len(drawn) - np.eye(32)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(drawn))
    bytes_seen = np.bincount(drawn.view(np.uint8), minlength=256)
    assert stats.chisquare(bytes_seen).pvalue > 1e-3


def test_neighbouring_keys_share_nothing():
    keys = jax.vmap(lambda j: jax.random.fold_in(KEY, j))(jnp.arange(100))
    drawn = np.asarray(jax.vmap(lambda key: random_words(key, 1000))(keys)).reshape(-1)
    # Of 10^5 words of 32 bits about one pair is alike by chance.
    assert len(np.unique(drawn)) >= len(drawn) - 10
    assert not np.isin(np.asarray(jax.random.key_data(keys)), drawn).any()
    assert not np.isin(np.asarray(jax.random.key_data(keys)), random_words(KEY, 1000)).any()


def test_a_block_is_enciphered_once_in_a_loop():
    def body(k, total):
        words = random_words(jax.random.fold_in(KEY, k), 1000)
        return total + (words >> 8).astype(jnp.float32)

    program = jax.jit(lambda n: jax.lax.fori_loop(0, n, body, jnp.zeros(1000, jnp.float32)))
    text = program.lower(10).compile().as_text()
    # Each of the 20 rounds has one `xor` of arrays, and the key's parity two of numbers.
    assert len(re.findall(r"u32\[500\]\S* xor\(", text)) <= ROUNDS


def test_fold_in_gives_the_keys_of_jax():
    for data in (0, 1, 2**31 - 1, 2**32 - 1):
        assert fold_in(KEY, data) == jax.random.fold_in(KEY, data)
    many = jax.vmap(fold_in, (None, 0))(KEY, jnp.arange(50))
    np.testing.assert_array_equal(
        jax.random.key_data(many),
        jax.random.key_data(jax.vmap(lambda j: jax.random.fold_in(KEY, j))(jnp.arange(50))),
    )


def test_keys_of_another_generator_are_refused():
    with pytest.raises(ValueError, match="a key of 'rbg' cannot be used here: leave jax_default"):
        random_words(jax.random.key(0, impl="rbg"), 3)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_halves_are_those_of_the_words(count):
    halves = np.asarray(random_words(KEY, (count + 1) // 2)).view(np.uint16)
    np.testing.assert_array_equal(random_halves(KEY, count), halves[:count])
