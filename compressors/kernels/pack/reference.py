"""Packed integers in plain `jnp`: k codes of `bits` bits in ceil(k·bits/32) words.

The codes form one stream of bits: bit b of code i is bit i·bits + b of the stream, and bit s of the
stream is bit s mod 32 of word s // 32 (bit 0 is the least significant). So code i fills the bits
[i·bits, (i + 1)·bits), may straddle two words, and the stream read as one big integer is
Σ code_i · 2^(i·bits) = Σ word_w · 2^(32·w). Unused bits of the last word are zero.

The layout repeats every lcm(bits, 32) bits: `period` codes fill exactly `span` words. Within a
period all positions are static, so packing is shifts and ors of columns: no scatter, no gather.
Where `bits` divides 32 a period is one word, and the shifts are one row, which vectorises.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, UInt32


WORD = 32


def pack(codes: UInt32[Array, " k"], bits: int) -> UInt32[Array, " words"]:
    """The words of `codes`; of each code only the low `bits` bits are kept.

    Raises:
        ValueError: `bits` is not in 1..32.
    """
    period, span = _layout(bits)
    k = codes.shape[0]
    if span == 1:
        return jnp.sum(
            (_rows(codes, period) & _mask(bits)) << _shifts(bits), axis=1, dtype=jnp.uint32
        )
    columns = jnp.unstack(_rows(codes, period), axis=1)
    words = [jnp.zeros_like(columns[0]) for _ in range(span)]
    for i, column in enumerate(columns):
        code = column & _mask(bits)
        word, shift = divmod(i * bits, WORD)
        words[word] |= code << shift
        if shift + bits > WORD:
            words[word + 1] |= code >> (WORD - shift)
    return jnp.stack(words, axis=1).reshape(-1)[: math.ceil(k * bits / WORD)]


def unpack(words: UInt32[Array, " words"], bits: int, k: int) -> UInt32[Array, " k"]:
    """The k codes of `words`, the inverse of `pack`.

    Raises:
        ValueError: `bits` is not in 1..32, or there are not ceil(k·bits/32) words.
    """
    period, span = _layout(bits)
    if words.shape[0] != math.ceil(k * bits / WORD):
        raise ValueError(
            f"{k} codes of {bits} bits fill {math.ceil(k * bits / WORD)} words of 32 bits, not "
            f"{words.shape[0]}: give the k and the bits that the codes were packed with"
        )
    if span == 1:
        return ((words[:, None] >> _shifts(bits)) & _mask(bits)).reshape(-1)[:k]
    columns = jnp.unstack(_rows(words, span), axis=1)
    codes = []
    for i in range(period):
        word, shift = divmod(i * bits, WORD)
        code = columns[word] >> shift
        if shift + bits > WORD:
            code |= columns[word + 1] << (WORD - shift)
        codes.append(code & _mask(bits))
    return jnp.stack(codes, axis=1).reshape(-1)[:k]


def _layout(bits: int) -> tuple[int, int]:
    """The period in codes and in words."""
    if not 1 <= bits <= WORD:
        raise ValueError(f"codes of {bits} bits do not pack into 32-bit words: give 1 to 32 bits")
    common = math.gcd(bits, WORD)
    return WORD // common, bits // common


def _rows(array: UInt32[Array, " size"], width: int) -> UInt32[Array, "periods width"]:
    """The entries in rows of `width`, padded with zeros."""
    return jnp.pad(array, (0, -array.shape[0] % width)).reshape(-1, width)


def _shifts(bits: int) -> UInt32[Array, "1 period"]:
    """Where the codes of one word begin."""
    return jnp.arange(0, WORD, bits, dtype=jnp.uint32)[None, :]


def _mask(bits: int) -> Array:
    return jnp.uint32((1 << bits) - 1)
