import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compressors.kernels.pack import pack, unpack


def words_of(codes, bits):
    """The stream as one big integer, cut into 32-bit digits."""
    stream = sum(code << (i * bits) for i, code in enumerate(codes))
    return [(stream >> (32 * w)) % 2**32 for w in range(-(-len(codes) * bits // 32))]


@st.composite
def codes_of_bits(draw):
    bits, k = draw(st.sampled_from([(1, 67), (5, 67), (13, 1), (13, 67), (27, 67), (32, 67)]))
    return draw(st.lists(st.integers(0, 2**bits - 1), min_size=k, max_size=k)), bits


@settings(max_examples=30, deadline=None)
@given(codes_of_bits())
@example(([], 7))
@example(([2**32 - 1] * 67, 32))
@example(([2**27 - 1] * 67, 27))
def test_words_are_the_digits_of_one_big_integer(case):
    codes, bits = case
    words = pack(jnp.asarray(codes, jnp.uint32), bits)
    assert words.dtype == jnp.uint32
    assert words.tolist() == words_of(codes, bits)
    back = unpack(words, bits, len(codes))
    assert back.dtype == jnp.uint32
    assert back.tolist() == codes


@pytest.mark.parametrize("bits", range(1, 33))
def test_every_width_over_several_periods(bits):
    codes = np.random.default_rng(bits).integers(0, 2**bits, 131, dtype=np.uint32)
    words = pack(jnp.asarray(codes), bits)
    assert words.tolist() == words_of(codes.tolist(), bits)
    np.testing.assert_array_equal(unpack(words, bits, 131), codes)


def test_a_code_may_straddle_two_words():
    assert pack(jnp.asarray([0, 0b11111_00001], jnp.uint32), 27).tolist() == [1 << 27, 0b11111]


def test_high_bits_of_a_code_do_not_reach_its_neighbours():
    assert pack(jnp.asarray([0xFFFFFFFF, 0, 0xFFFFFFFF], jnp.uint32), 3).tolist() == [0b111_000_111]


def test_under_jit_and_vmap():
    codes = np.random.default_rng(0).integers(0, 2**13, (4, 21), dtype=np.uint32)
    words = jax.jit(jax.vmap(lambda row: pack(row, 13)))(jnp.asarray(codes))
    assert words.tolist() == [words_of(row, 13) for row in codes.tolist()]
    back = jax.jit(jax.vmap(lambda row: unpack(row, 13, 21)))(words)
    np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize("bits", [-1, 0, 33])
def test_a_width_that_does_not_fit_a_word_is_refused(bits):
    with pytest.raises(ValueError, match=f"codes of {bits} bits do not pack"):
        pack(jnp.zeros(3, jnp.uint32), bits)
    with pytest.raises(ValueError, match=f"codes of {bits} bits do not pack"):
        unpack(jnp.zeros(3, jnp.uint32), bits, 3)


def test_the_wrong_number_of_words_is_refused():
    with pytest.raises(ValueError, match="10 codes of 13 bits fill 5 words of 32 bits, not 4"):
        unpack(jnp.zeros(4, jnp.uint32), 13, 10)
