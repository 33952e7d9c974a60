import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from compressors import _uniform
from compressors._uniform import happens, uniform_bits
from compressors.kernels.threefry import random_words


KEY = jax.random.key(3)


@pytest.mark.parametrize(("dtype", "width"), [(jnp.uint32, 32), (jnp.uint64, 64)])
@pytest.mark.parametrize("d", [1, 5, 32])
def test_neighbours_read_one_word_from_different_bytes_on(dtype, width, d):
    sharers = width // 8
    blocks = -(-d // sharers)
    words = random_words(KEY, blocks * width // 32).tolist()
    draws = words
    if width == 64:
        draws = [high << 32 | low for high, low in zip(words[:blocks], words[blocks:], strict=True)]
    expected = []
    for j in range(d):
        word, turn = draws[j // sharers], 8 * (j % sharers)
        expected.append((word << turn | word >> (width - turn)) % 2**width)
    bits = uniform_bits(KEY, d, dtype)
    assert bits.dtype == dtype
    assert bits.tolist() == expected


@pytest.mark.parametrize(
    ("dtype", "words", "bits"), [(jnp.float32, np.uint32, 31), (jnp.float64, np.uint64, 63)]
)
def test_it_happens_below_the_threshold(monkeypatch, dtype, words, bits):
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 2 ** (bits + 1), 4000, dtype=words)
    near = np.asarray(drawn >> 1, np.float64) / 2.0**bits
    p = np.where(rng.random(4000) < 0.5, near * rng.uniform(0.999, 1.001, 4000), near)
    p = np.minimum(p, 1 - 2.0**-20).astype(dtype)
    monkeypatch.setattr(_uniform, "uniform_bits", lambda key, d, dtype: jnp.asarray(drawn))
    told = np.asarray(happens(KEY, jnp.asarray(p)))
    eps = float(jnp.finfo(dtype).eps)
    for u, threshold, happened in zip(drawn.tolist(), p.tolist(), told.tolist(), strict=True):
        margin = threshold * 2**bits - (u >> 1)
        if abs(margin) > eps * threshold * 2**bits:
            assert happened is (margin > 0)


def test_what_is_impossible_never_happens():
    assert not np.asarray(happens(KEY, jnp.zeros(10_000, jnp.float32))).any()


def test_frequencies_are_the_probabilities():
    for p in (2.0**-9, 0.1, 1 / 3, 1 - 2.0**-7):
        count = int(happens(KEY, jnp.full(2**19, p, jnp.float32)).sum())
        tail = binom.cdf(count, 2**19, p)
        assert 1e-6 < tail < 1 - 1e-6


def test_neighbours_are_nearly_independent():
    """The covariance is at most 2⁻⁸; independent words would have 0."""
    words = 2**17
    for p in (0.3, 0.5, 2.0**-10):
        told = np.asarray(happens(KEY, jnp.full(4 * words, p, jnp.float32)), float)
        covariance = np.cov(told.reshape(words, 4).T)
        error = 5 / words**0.5 / 4
        assert np.abs(covariance - np.diag(np.diag(covariance))).max() <= 2.0**-8 + error
