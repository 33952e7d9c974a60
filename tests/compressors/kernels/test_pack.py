"""Both layouts against decoders that go bit by bit, and the kernels against the reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lowering import lower
from packing import write_planar, write_sequential

from compressors.kernels import mosaic
from compressors.kernels.backend import chosen
from compressors.kernels.pack import mosaic_form, pack, unpack, words_of
from compressors.kernels.pack.api import PACK


ORACLES = {"sequential": write_sequential, "planar": write_planar}

packed = jax.jit(pack, static_argnames=("bits", "layout"))
unpacked = jax.jit(unpack, static_argnames=("bits", "k", "layout"))


@st.composite
def codes_of_bits(draw):
    bits, k = draw(st.sampled_from([(1, 67), (5, 67), (13, 1), (13, 67), (27, 67), (32, 67)]))
    return draw(st.lists(st.integers(0, 2**bits - 1), min_size=k, max_size=k)), bits


@pytest.mark.parametrize("layout", ORACLES)
@settings(max_examples=12, deadline=None)
@given(codes_of_bits())
@example(([], 7))
@example(([2**32 - 1] * 67, 32))
@example(([2**27 - 1] * 67, 27))
def test_every_bit_is_in_its_place(layout, case):
    codes, bits = case
    words = packed(jnp.asarray(codes, jnp.uint32), bits, layout=layout)
    assert words.dtype == jnp.uint32
    assert words.tolist() == ORACLES[layout](codes, bits)
    assert unpacked(words, bits, len(codes), layout=layout).tolist() == codes


@pytest.mark.parametrize(
    ("layout", "bits"),
    [("planar", bits) for bits in range(1, 33)]
    + [("sequential", bits) for bits in (1, 3, 4, 8, 13, 16, 27, 32)],
)
def test_every_width_over_several_periods(layout, bits):
    codes = np.random.default_rng(bits).integers(0, 2**bits, 131, dtype=np.uint32)
    words = packed(jnp.asarray(codes), bits, layout=layout)
    assert words.tolist() == ORACLES[layout](codes.tolist(), bits)
    assert words.size == words_of(131, bits)
    back = unpacked(words, bits, 131, layout=layout)
    assert back.dtype == (np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
    np.testing.assert_array_equal(back, codes)


def test_bits_by_hand():
    assert pack(jnp.asarray([0, 0b11111_00001], jnp.uint32), 27, layout="sequential").tolist() == [
        1 << 27,
        0b11111,
    ]
    quarters = jnp.asarray([1, 0, 0, 0, 2, 0, 0, 0, 3], jnp.uint8)
    assert pack(quarters, 2).tolist() == [0b11_10_01]
    assert pack(quarters, 2, layout="sequential").tolist() == [0b11 << 16 | 0b10 << 8 | 0b01]


@pytest.mark.parametrize("layout", ORACLES)
def test_high_bits_of_a_code_do_not_reach_its_neighbours(layout):
    codes = [0xFFFFFFFF, 0, 0xFFFFFFFF]
    for bits in (3, 4):
        words = pack(jnp.asarray(codes, jnp.uint32), bits, layout=layout)
        assert words.tolist() == ORACLES[layout]([code % 2**bits for code in codes], bits)


@pytest.mark.parametrize("layout", ORACLES)
def test_rows_are_packed_alone_under_jit_and_vmap_too(layout):
    codes = np.random.default_rng(0).integers(0, 2**13, (4, 45), dtype=np.uint32)
    expected = [ORACLES[layout](row, 13) for row in codes.tolist()]
    one = functools.partial(pack, bits=13, layout=layout)
    words = one(jnp.asarray(codes))
    assert words.tolist() == jax.jit(jax.vmap(one))(jnp.asarray(codes)).tolist() == expected
    back = functools.partial(unpack, bits=13, k=45, layout=layout)
    np.testing.assert_array_equal(back(words), codes)
    np.testing.assert_array_equal(jax.jit(jax.vmap(back))(words), codes)


@pytest.mark.parametrize("bits", [-1, 0, 33])
def test_a_width_that_does_not_fit_a_word_is_refused(bits):
    with pytest.raises(ValueError, match=f"codes of {bits} bits do not pack"):
        pack(jnp.zeros(3, jnp.uint32), bits)
    with pytest.raises(ValueError, match=f"codes of {bits} bits do not pack"):
        unpack(jnp.zeros(3, jnp.uint32), bits, 3)


def test_narrow_codes_and_the_wrong_number_of_words_are_refused():
    with pytest.raises(ValueError, match="codes of uint8 have 8 bits, not 9: give fewer bits"):
        pack(jnp.zeros(3, jnp.uint8), 9)
    with pytest.raises(ValueError, match="10 codes of 13 bits fill 5 words of 32 bits, not 4"):
        unpack(jnp.zeros(4, jnp.uint32), 13, 10)


@pytest.mark.parametrize(
    ("bits", "shape"),
    [(1, (2, 5)), (1, (8 * 600 * 4 + 3,)), (2, (1,)), (3, (2, 64)), (7, (96,)), (4, (0,))],
)
def test_the_kernels_equal_the_reference(bits, shape):
    codes = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    with jax.enable_x64(bits % 2 == 1):
        words = pack(jnp.asarray(codes), bits)
        np.testing.assert_array_equal(pack(jnp.asarray(codes), bits, backend="interpret"), words)
        back = unpack(words, bits, shape[-1], backend="interpret")
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, codes % 2**bits)


@pytest.mark.parametrize("bits", range(1, 8))
def test_the_kernels_lower(bits):
    k = 32 * 100 + (4 if bits in (1, 2, 4) else 0)
    codes, words = jnp.zeros((2, k), jnp.uint8), jnp.zeros((2, words_of(k, bits)), jnp.uint32)
    assert "triton" in lower(lambda codes: pack(codes, bits, backend="triton"), codes)
    assert "triton" in lower(lambda words: unpack(words, bits, k, backend="triton"), words)


def test_what_the_kernels_do_not_serve_is_refused_by_them_alone(monkeypatch):
    codes = jnp.zeros(70, jnp.uint32)
    for bits, layout, sentence in [
        (9, "planar", "serves codes of 1 to 8 and of 16 bits, not 9"),
        (4, "sequential", "knows the planar layout, not 'sequential'"),
        (3, "planar", "serves codes of 3 bits in multiples of 32, not 70"),
    ]:
        with pytest.raises(NotImplementedError, match=f"the kernel of pack {sentence}"):
            pack(codes, bits, layout=layout, backend="interpret")
        words = jnp.zeros(words_of(70, bits), jnp.uint32)
        with pytest.raises(NotImplementedError, match=f"the kernel of unpack {sentence}"):
            unpack(words, bits, 70, layout=layout, backend="triton")
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        assert chosen(PACK, "auto", codes, bits, layout) == "xla"
        monkeypatch.undo()


@pytest.mark.parametrize(("bits", "k"), [(1, 2048 * 8), (3, 2048 * 8 * 2), (4, 2048 * 2)])
def test_the_mosaic_forms(bits, k):
    pytest.importorskip("absl")
    codes = jnp.asarray(np.random.default_rng(0).integers(0, 2**bits, (2, k), dtype=np.uint8))
    words = pack(codes, bits)
    assert "mosaic" in lower(lambda codes: pack(codes, bits, backend="mosaic"), codes)
    assert "mosaic" in lower(lambda words: unpack(words, bits, k, backend="mosaic"), words)
    if hasattr(mosaic.module(), "InterpretGPUParams"):
        again = mosaic_form.pack_interpreted(codes, bits, "planar")
        np.testing.assert_array_equal(again, words)
        back = mosaic_form.unpack_interpreted(words, bits, k, "planar")
        np.testing.assert_array_equal(back, codes)


def test_the_mosaic_forms_refuse_lanes_that_are_not_whole_blocks():
    with pytest.raises(NotImplementedError, match="lanes of a multiple of 512 entries, not 1000"):
        pack(jnp.zeros(1000, jnp.uint8), 1, backend="mosaic")
