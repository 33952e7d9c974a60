import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import RandomDithering, Ternary
from compressors.ternary import pack_trits, unpack_trits


KEY = jax.random.key(7)


def test_it_is_random_dithering_with_one_level_of_the_largest_entry():
    x = jax.random.normal(KEY, (101,))
    code, same = (c.compress(x, key=KEY) for c in (Ternary(), RandomDithering(1, math.inf)))
    np.testing.assert_array_equal(code.levels, same.levels)
    assert code.norm == jnp.abs(x).max()
    y = np.asarray(Ternary().expand(code))
    assert set(np.abs(y)) == {0.0, float(code.norm)}
    assert y[int(jnp.abs(x).argmax())] == x[int(jnp.abs(x).argmax())]


@pytest.mark.parametrize("d", [1, 19, 20, 21, 137])
def test_words_are_numbers_in_base_three(d):
    trits = np.random.default_rng(d).integers(-1, 2, d).astype(np.int8)
    words = pack_trits(jnp.asarray(trits))
    count = -(-d // 20)
    expected = [0] * count
    for j, trit in enumerate(trits.tolist()):
        expected[j % count] += 3 ** (j // count) * (trit + 1)
    assert words.dtype == jnp.uint32
    assert words.tolist() == expected
    back = unpack_trits(words, d)
    assert back.dtype == jnp.int8
    np.testing.assert_array_equal(back, trits)


def test_a_full_word_fits():
    words = pack_trits(jnp.ones(20, jnp.int8))
    assert words.tolist() == [3**20 - 1]
    assert unpack_trits(words, 20).tolist() == [1] * 20


def test_the_wrong_number_of_words_is_refused():
    with pytest.raises(ValueError, match="41 ternary digits fill 3 words of 32 bits, not 2"):
        unpack_trits(jnp.zeros(2, jnp.uint32), 41)


def test_bits():
    for d in (1, 20, 7850):
        assert Ternary().payload_bits(d, jnp.float32) == len(f"{3**d - 1:b}") + 32
        assert Ternary().nbits(d, jnp.float32) == 32 * -(-d // 20) + 32


def test_omega_is_attained_where_one_entry_stands_out():
    d = 16
    x = np.full(d, 1 / (1 + math.sqrt(d)))
    x[3] = 1.0
    ratio = np.abs(x).sum() * np.abs(x).max() / (x @ x) - 1
    assert Ternary().omega(d).value == pytest.approx((math.sqrt(d) - 1) / 2)
    assert Ternary().omega(d).value == pytest.approx(ratio)
    assert Ternary().omega(d).kind == "exact"
