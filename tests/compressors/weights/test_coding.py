"""Codes in words: what comes back, and how many words it takes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors.weights import Coding


SIZES = [2, 3, 19, 84, 88, 256, 361, 833, 7131, 70000]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("k", [1, 288])
def test_codes_come_back(n, k):
    coding = Coding(n)
    codes = np.random.default_rng(n).integers(0, n, (4, k))
    codes[0], codes[1] = n - 1, 0
    words = coding.pack(jnp.asarray(codes, jnp.uint32))
    assert words.shape == (4, coding.words(k))
    assert words.dtype == jnp.uint32
    assert np.array_equal(coding.unpack(words, k), codes)


def least_words(n, k):
    """By trying every way to share numbers of up to 64 bits, cut into limbs of 16 bits."""
    found = [math.ceil(k * (n - 1).bit_length() / 32)]
    for c in range(2, 65):
        bits = (n**c - 1).bit_length()
        if bits > 64 or n > 1 << 16:
            break
        limbs = [16] * (bits // 16) + ([bits % 16] if bits % 16 else [])
        found.append(sum(math.ceil(math.ceil(k / c) * limb / 32) for limb in limbs))
    return min(found)


@pytest.mark.parametrize("k", [1, 7, 144, 288, 1536, 11008])
def test_words_are_the_fewest(k):
    for n in SIZES:
        assert Coding(n).words(k) == least_words(n, k)


@pytest.mark.parametrize(
    ("n", "p", "bits"),
    [(16, 1, 4.0), (256, 2, 4.0), (88, 2, 3.25), (84, 2, 3.21), (19, 1, 4.25), (361, 2, 4.25)],
)
def test_bits_of_a_weight_in_rows_of_1536(n, p, bits):
    words = Coding(n, p).words(1536 // p)
    assert 32 * words / 1536 == pytest.approx(bits, abs=0.005)
    assert 32 * words / 1536 < math.log2(n) / p + 0.03


def test_powers_of_two_are_packed_as_the_kernels_expect():
    for n in (2, 4, 16, 64, 256):
        assert Coding(n).radix(288).c == 1


def test_a_row_ends_where_its_codes_end():
    coding = Coding(16, p=3)
    assert coding.codes(9) == 3
    assert coding.codes(10) == 4


def test_packing_is_compiled_for_shapes_alone():
    shapes = jax.eval_shape(Coding(88).pack, jax.ShapeDtypeStruct((3, 288), jnp.uint8))
    assert shapes.shape == (3, Coding(88).words(288))
