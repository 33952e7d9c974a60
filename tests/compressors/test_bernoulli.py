import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest

from compressors import Bernoulli, Compressor, CoordinateBernoulli, bernoulli, message_key
from compressors.kernels.threefry import random_words


KEYS = jax.random.split(jax.random.key(5), 4000)
X = np.random.default_rng(0).standard_normal(70)


@jax.jit
def all_sent(keys):
    return jax.vmap(Bernoulli(0.3)._sent)(keys)


@pytest.mark.parametrize(
    ("kind", "parameter", "bits"), [(Bernoulli, "p", 32), (CoordinateBernoulli, "q", 16)]
)
@pytest.mark.parametrize("bad", [-0.5, 0.0, 1e-12, 1.5, np.nan])
def test_a_bad_probability_is_refused(kind, parameter, bits, bad):
    refused = rf"{parameter} = {bad}: give {parameter} between 2\^-{bits} and 1"
    with pytest.raises(ValueError, match=refused):
        kind(bad)


def test_the_whole_vector_or_nothing():
    compressor, outcomes = Bernoulli(0.3), set()
    for key in KEYS[:12]:
        message = compressor.encode(jnp.asarray(X), key=key)
        flag = int(message["sent"][0])
        outcomes.add(flag)
        expected = X / compressor.realised if flag else np.zeros(70)
        np.testing.assert_allclose(compressor.decode(message, key=key, d=70), expected, rtol=1e-15)
        cut = compressor.trim(message, key=key, d=70)
        assert cut["values"].shape == (70 * flag,)
        np.testing.assert_array_equal(
            compressor.decode(cut, key=key, d=70), compressor.decode(message, key=key, d=70)
        )
        assert compressor.nbits(70, jnp.float32, key=key) == 32 + flag * 70 * 32
    assert outcomes == {0, 1}


def test_the_vector_is_sent_with_probability_p():
    sent = int(np.asarray(all_sent(KEYS)).sum())
    assert binomtest(sent, len(KEYS), 0.3).pvalue > 1e-4


def test_draw_and_division_use_the_same_probability(monkeypatch):
    """The words that send are counted: p·2³² of 2³², q·2¹⁶ of 2¹⁶; probability one sends always."""
    for p in (0.3, 2.0**-32, 1.0):
        compressor = Bernoulli(p)
        first_silent = round(compressor.realised * 2**32)
        for word, sent in ((0, True), (first_silent - 1, True), (first_silent, False)):
            if word < 2**32:
                monkeypatch.setattr(
                    jax.random, "bits", lambda *a, word=word: jnp.asarray(word, jnp.uint32)
                )
                assert bool(compressor._sent(KEYS[0])) is sent
    every = jnp.arange(2**16, dtype=jnp.uint16)
    monkeypatch.setattr(bernoulli, "random_halves", lambda *a: every)
    for q in (0.01, 2.0**-16, 1.0):
        compressor = CoordinateBernoulli(q)
        kept = np.asarray(compressor._kept(KEYS[0], 2**16))
        assert kept.mean() == compressor.realised
        assert abs(compressor.realised - q) <= 2.0**-17


def test_omega_by_enumeration():
    for compressor in (Bernoulli(0.3), CoordinateBernoulli(0.3)):
        p = compressor.realised
        error = p * (1 / p - 1) ** 2 + (1 - p)
        np.testing.assert_allclose(compressor.omega(9).value, error, rtol=1e-12)
        assert compressor.omega(9).kind == "exact"


def test_kept_coordinates_travel_in_order():
    compressor = CoordinateBernoulli(0.25)
    for key in KEYS[:5]:
        kept = np.asarray(random_words(key, 35)).view(np.uint16) < 2**14
        message = compressor.encode(jnp.asarray(X), key=key)
        values = np.zeros(70)
        values[: kept.sum()] = X[kept] * 4
        np.testing.assert_array_equal(message["values"], values)
        expected = np.where(kept, X * 4, 0)
        for travels in (message, compressor.trim(message, key=key, d=70)):
            np.testing.assert_array_equal(compressor.decode(travels, key=key, d=70), expected)
        assert compressor.nbits(70, jnp.bfloat16, key=key) == 16 * kept.sum()


def test_an_empty_message():
    compressor = CoordinateBernoulli(2.0**-16)
    message = compressor.encode(jnp.asarray(X), key=KEYS[0])
    cut = compressor.trim(message, key=KEYS[0], d=70)
    assert cut["values"].shape == (0,)
    np.testing.assert_array_equal(compressor.decode(cut, key=KEYS[0], d=70), np.zeros(70))


def test_expected_bits():
    assert Bernoulli(0.25).expected_bits(100, jnp.float32) == 32 + 800
    assert CoordinateBernoulli(0.25).expected_bits(100, jnp.bfloat16) == 400
    for compressor in (Bernoulli(0.25), CoordinateBernoulli(0.25)):
        with pytest.raises(ValueError, match="vary in size with the key"):
            compressor.nbits(100, jnp.float32)
        assert compressor.payload_bits(100, jnp.float32) - 3200 == isinstance(compressor, Bernoulli)


@pytest.mark.parametrize("compressor", [Bernoulli(0.4), CoordinateBernoulli(0.4)], ids=str)
def test_the_mean_is_the_mean_of_its_messages(compressor):
    x, key = jnp.asarray(X), KEYS[0]
    draw = jax.jit(lambda j: compressor.expand(compressor.compress(x, key=message_key(key, j))))
    draws = np.stack([draw(j) for j in range(7)])
    numbers = jnp.asarray([1, 4, 7])
    for mean in (compressor.compress_mean, Compressor.compress_mean.__get__(compressor)):
        got = jax.jit(jax.vmap(lambda m, mean=mean: mean(x, m, key=key, most=7)))(numbers)
        expected = [draws[:m].mean(axis=0) for m in (1, 4, 7)]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


def test_a_coordinate_that_is_no_number_stays_in_its_place():
    x = jnp.asarray(X).at[3].set(jnp.nan)
    y = np.asarray(
        CoordinateBernoulli(1.0).expand(CoordinateBernoulli(1.0).compress(x, key=KEYS[0]))
    )
    assert np.flatnonzero(np.isnan(y)).tolist() == [3]
