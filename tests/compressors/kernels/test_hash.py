"""The counter hash: golden integers, against Python's own, and against statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lowering import lower
from scipy import stats

from compressors.kernels import triton
from compressors.kernels.hash import hash_words


COUNT = 100_000
SEEDS = [(0, 0), (1, 0), (0, 1), (0x13198A2E, 0x03707344)]


def seed_of(seed):
    return tuple(jnp.uint32(word) for word in seed)


def by_integers(seed, index):
    """The docstring's recipe in Python's integers."""

    def mix(x):
        x = (x ^ x >> 16) * 0x7FEB352D % 2**32
        x = (x ^ x >> 15) * 0x846CA68B % 2**32
        return x ^ x >> 16

    high, low = divmod(index, 2**32)
    k0 = mix((seed[0] + 0x9E3779B9) % 2**32)
    k1 = mix((mix(seed[1] ^ k0) + high) % 2**32)
    return mix(mix((low + k0) % 2**32) ^ k1)


@pytest.fixture(scope="module")
def drawn():
    words = jax.jit(hash_words)
    return {
        seed: np.asarray(words(seed_of(seed), jnp.arange(COUNT, dtype=jnp.uint32)))
        for seed in SEEDS
    }


def bits_of(words):
    return (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1


def test_golden_integers(drawn):
    golden = {
        (0, 0): [0xB605CC0E, 0x4E4B3D86, 0xF1FD51DB, 0x47674004],
        (0x13198A2E, 0x03707344): [0x1F85EA7D, 0xF361AC1D, 0x1ABFC16F, 0xF1A2C3EC],
    }
    for seed, words in golden.items():
        assert drawn[seed][:4].tolist() == words


@pytest.mark.parametrize("x64", [True, False])
def test_the_recipe_in_integers(x64):
    indices = [0, 1, 77, 2**32 - 1, 2**32, 5 * 2**32 + 3, 2**64 - 1]
    with jax.enable_x64(x64):
        low = jnp.asarray([i % 2**32 for i in indices], jnp.uint32)
        high = jnp.asarray([i >> 32 for i in indices], jnp.uint32)
        for seed in SEEDS:
            expected = [by_integers(seed, index) for index in indices]
            words = hash_words(seed_of(seed), low, high)
            assert words.dtype == jnp.uint32
            assert words.tolist() == expected
            assert hash_words(seed_of(seed), low[:4]).tolist() == expected[:4]


@pytest.mark.parametrize("seed", SEEDS)
def test_bits_and_bytes_are_uniform(drawn, seed):
    words = drawn[seed]
    z = (bits_of(words).mean(0) - 0.5) / (0.5 / np.sqrt(COUNT))
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for byte in words.view(np.uint8).reshape(-1, 4).T:
        assert stats.chisquare(np.bincount(byte, minlength=256)).pvalue > 1e-4


@pytest.mark.parametrize("lag", [1, 2, 4, 256, 4096])
def test_neighbouring_indices_are_independent(drawn, lag):
    for words in drawn.values():
        correlated(words[:-lag], words[lag:])


def test_neighbouring_seeds_are_independent(drawn):
    for seed in [(1, 0), (0, 1)]:
        correlated(drawn[0, 0], drawn[seed])
        correlated(drawn[0, 0][1:], drawn[seed][:-1])
        assert np.isin(drawn[0, 0], drawn[seed]).sum() < 20  # of 10⁵ about two are alike by chance


def correlated(first, second):
    """All pairs of bits, and the top bytes as a 256 x 256 table, show no dependence."""
    signs, others = 1.0 - 2.0 * bits_of(first), 1.0 - 2.0 * bits_of(second)
    assert np.abs(signs.T @ others / len(first)).max() < 5.5 / np.sqrt(len(first))
    table = np.bincount((first >> 28 << 4 | second >> 28).astype(np.int64), minlength=256)
    assert stats.chisquare(table).pvalue > 1e-5


def test_the_tests_can_fail():
    weak = np.arange(COUNT, dtype=np.uint32) * np.uint32(0x9E3779B9)
    with pytest.raises(AssertionError):
        correlated(weak[:-1], weak[1:])


@pytest.mark.parametrize("part", ["index", "first", "second", "high"])
def test_every_bit_of_the_input_moves_half_the_output(part):
    rng = np.random.default_rng(0)
    base = dict(
        zip(("index", "first", "second", "high"), rng.integers(0, 2**32, (4, 3000)), strict=True)
    )

    @jax.jit
    def words(at):
        return jax.vmap(lambda i, a, b, h: hash_words((a, b), i, h))(*at)

    def evaluate(values):
        return np.asarray(words(tuple(jnp.asarray(v, jnp.uint32) for v in values.values())))

    before = evaluate(base)
    for bit in range(32):
        after = evaluate(base | {part: base[part] ^ (1 << bit)})
        flips = bits_of(before ^ after).mean(0)
        assert np.abs(flips - 0.5).max() < 5 * 0.5 / np.sqrt(3000)


def test_a_kernel_makes_the_same_words(drawn):
    def kernel(seed_ref, out_ref):
        index = triton.program(0) * 256 + jnp.arange(256, dtype=jnp.int32)
        words = hash_words((seed_ref[0], seed_ref[1]), index.astype(jnp.uint32))
        triton.store(out_ref, index, words, index < 1000)

    def draw(seed, *, interpret):
        out = jax.ShapeDtypeStruct((1000,), jnp.uint32)
        return triton.call(kernel, seed, out=out, grid=(4,), interpret=interpret, name="hash")

    seed = jnp.asarray(SEEDS[-1], jnp.uint32)
    np.testing.assert_array_equal(draw(seed, interpret=True), drawn[SEEDS[-1]][:1000])
    assert "triton" in lower(lambda seed: draw(seed, interpret=False), seed)
