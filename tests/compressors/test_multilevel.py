from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from compressors import Multilevel


D = 37
LEVELS = Multilevel((1, 4, 16), (0.4, 0.3, 0.2, 0.1))
KEYS = jax.random.split(jax.random.key(4), 60)


@partial(jax.jit, static_argnums=0)
def sent(compressor, x, key):
    code = compressor.compress(x, key=key)
    return code, compressor.pack(code), compressor.expand(code)


def parts(x, K):
    """δ_1 … δ_L by a stable sort."""
    order = np.argsort(-np.abs(x), kind="stable")
    bounds = [0, *K, x.size]
    results = np.zeros((len(bounds) - 1, x.size))
    for level, (low, high) in enumerate(pairwise(bounds)):
        results[level, order[low:high]] = x[order[low:high]]
    return results


def level_of(compressor, key):
    bounds = np.cumsum(compressor.realised)
    return int((int(jax.random.bits(key, (), jnp.uint32)) / 2**32 >= bounds).sum())


def read(words, bits, k):
    stream = sum(int(word) << 32 * w for w, word in enumerate(np.asarray(words)))
    return [stream >> bits * i & ((1 << bits) - 1) for i in range(k)]


@pytest.mark.parametrize(
    ("K", "p", "refused"),
    [
        ((3, 3), (0.5, 0.3, 0.2), "cannot nest levels K = "),
        ((0, 3), (0.5, 0.3, 0.2), "give 1 <= K_1 < K_2"),
        ((1, 4), (0.5, 0.5), "3 levels, .* and 2 probabilities"),
        ((1,), (0.7, 0.4), "of sum 1.1: give probabilities of at least"),
        ((1,), (1.0, 0.0), "cannot draw levels"),
        ((1,), (1.5, -0.5), "cannot draw levels"),
        ((1,), (float("nan"), 0.5), "cannot draw levels"),
    ],
)
def test_bad_levels_are_refused(K, p, refused):
    with pytest.raises(ValueError, match=refused):
        Multilevel(K, p)


def test_levels_that_do_not_fit_the_dimension_are_refused():
    for call in (
        lambda: LEVELS.check(16),
        lambda: LEVELS.omega(16),
        lambda: LEVELS.compress(jnp.ones(16), key=KEYS[0]),
    ):
        with pytest.raises(ValueError, match=r"cannot keep K = 16 of d = 16 .* give K below 16"):
            call()


@pytest.mark.parametrize("vector", ["gaussian", "few values", "constant"])
def test_each_level_sends_its_ranks(vector):
    rng = np.random.default_rng(1)
    x = {
        "gaussian": rng.standard_normal(D),
        "few values": rng.integers(-2, 3, D).astype(float),
        "constant": np.full(D, -4 / 3),
    }[vector]
    levels = set()
    for key in KEYS:
        level = level_of(LEVELS, key)
        levels.add(level)
        expected = parts(x, LEVELS.K)[level] / LEVELS.realised[level]
        np.testing.assert_allclose(sent(LEVELS, jnp.asarray(x), key)[2], expected, rtol=1e-15)
    assert levels == {0, 1, 2, 3}


def test_levels_are_drawn_by_their_probabilities():
    keys = jax.random.split(jax.random.key(0), 20_000)
    counts = np.bincount(np.asarray(jax.jit(jax.vmap(LEVELS._level))(keys)), minlength=4)
    assert chisquare(counts, 20_000 * np.asarray(LEVELS.realised)).pvalue > 1e-4
    np.testing.assert_allclose(LEVELS.realised, LEVELS.p, rtol=0, atol=2.0**-32)
    assert sum(LEVELS.realised) == 1


@pytest.mark.parametrize(
    ("K", "p", "worst"),
    [
        ((1, 4, 16), (0.4, 0.3, 0.2, 0.1), D),
        ((1, 4, 16), (0.1, 0.2, 0.3, 0.4), 1),
        ((2, 5, 9), (0.3, 0.1, 0.3, 0.3), 5),
        ((), (1.0,), D),
    ],
)
def test_omega_is_the_worst_vector_of_equal_magnitudes(K, p, worst):
    compressor = Multilevel(K, p)
    rng = np.random.default_rng(0)
    flat = [np.where(np.arange(D) < k, 1.0, 0.0) for k in range(1, D + 1)]
    others = [rng.standard_normal(D) ** 3 for _ in range(200)]

    def ratio(x):
        delta = parts(x, K)
        np.testing.assert_allclose(delta.sum(axis=0), x)
        weighted = (delta**2).sum(axis=1) / np.asarray(compressor.realised)
        return weighted.sum() / (x @ x) - 1

    omega = compressor.omega(D)
    assert omega.kind == "exact"
    assert f"{worst} coordinates equal" in omega.note
    np.testing.assert_allclose(omega.value, max(map(ratio, flat)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(omega.value, ratio(flat[worst - 1]), rtol=1e-12, atol=1e-12)
    assert max(map(ratio, others)) <= omega.value + 1e-12


def test_equal_probabilities_cost_the_same_everywhere():
    compressor = Multilevel((2, 9, 20), (0.25,) * 4)
    np.testing.assert_allclose(compressor.omega(D).value, 3, rtol=1e-12)


def test_a_reader_of_the_message():
    x = np.random.default_rng(2).standard_normal(D)
    sizes = [1, 3, 12, D - 16]
    for key in KEYS[:20]:
        level = level_of(LEVELS, key)
        size = sizes[level]
        _, message, dense = sent(LEVELS, jnp.asarray(x), key)
        cut = LEVELS.trim(message, key=key, d=D)
        assert cut["indices"].shape == (-(-6 * size // 32),)
        assert cut["values"].shape == (size,)
        decoded = np.zeros(D)
        decoded[read(cut["indices"], 6, size)] = cut["values"]
        np.testing.assert_array_equal(decoded, dense)
        np.testing.assert_array_equal(LEVELS.decode(cut, key=key, d=D), dense)
        assert LEVELS.nbits(D, jnp.float32, key=key) == 32 * (size - (-6 * size // 32))


def test_expected_bits():
    bits = [32 * (k - (-6 * k // 32)) for k in (1, 3, 12, D - 16)]
    expected = np.dot(LEVELS.realised, bits)
    np.testing.assert_allclose(LEVELS.expected_bits(D, jnp.float32), expected, rtol=1e-12)
    assert LEVELS.payload_bits(D, jnp.float32) == (D - 16) * (32 + 6)


def test_what_is_no_number_shows_at_every_level():
    x = jnp.asarray(np.random.default_rng(2).standard_normal(D)).at[5].set(jnp.inf)
    for key in KEYS[:12]:
        assert np.isnan(sent(LEVELS, x, key)[2]).any()


def test_one_level_is_the_identity():
    x = jnp.asarray([1.0, -2.0, 0.0])
    np.testing.assert_array_equal(sent(Multilevel((), (1.0,)), x, KEYS[0])[2], x)
