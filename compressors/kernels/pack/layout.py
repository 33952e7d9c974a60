"""Where the bits of packed codes lie: two layouts of codes of 1 to 32 bits in 32-bit words.

A word holds four bytes, byte 0 in its least significant bits; k codes of b bits fill ⌈k·b/32⌉
words in either layout, and bits that no code fills are zero. With leading axes each row is packed
alone.

"sequential", that of file formats: the codes form one stream of bits. Bit t of code i is bit
i·b + t of the stream, and bit s of the stream is bit s mod 32 of word s // 32. A code may straddle
words.

"planar", where neighbouring codes are never shifted against each other, so that loads and stores
are whole lines of memory and nothing is shuffled:

* b = 8, 16, 32: the codes as they are, in words: code i is the b bits from bit i·b of the stream.
* b = 1, 2, 4, with B = 4·⌈k·b/32⌉ bytes: byte m holds the codes m + j·B, j = 0 … 8/b − 1, each in
  its bits j·b … (j + 1)·b − 1. These are the eighths, quarters and halves of the vector on top of
  one another. Places at and beyond k hold zeros.
* any other b is a sum of powers of two, 7 = 4 + 2 + 1, and the codes are cut accordingly: the plane
  of the widest piece comes first and holds the lowest bits of all codes, then the next. The planes
  hold the first K = 32·⌊k/32⌋ codes, each plane as above with K for k, in b·K/32 words. The other
  k − K codes, at most 31, follow in the sequential layout, in ⌈(k − K)·b/32⌉ words.
"""

from typing import Any, Literal

import jax.numpy as jnp


Layout = Literal["planar", "sequential"]

WORD = 32
BYTE = 8


def check_bits(bits: int) -> None:
    """Raises `ValueError` unless codes of so many bits fit a word."""
    if not 1 <= bits <= WORD:
        raise ValueError(f"codes of {bits} bits do not pack into 32-bit words: give 1 to 32 bits")


def words_of(k: int, bits: int) -> int:
    """Words of k codes: ⌈k·bits/32⌉, in any layout."""
    return -(-k * bits // WORD)


def pieces(bits: int) -> tuple[int, ...]:
    """The powers of two that sum to `bits`, from the largest: the widths of the planes."""
    return tuple(1 << i for i in reversed(range(bits.bit_length())) if bits >> i & 1)


def in_planes(k: int, bits: int) -> int:
    """How many of k codes lie in planes; the others follow sequentially."""
    return k if len(pieces(bits)) == 1 else k - k % WORD


def code_dtype(bits: int) -> Any:
    """The smallest unsigned dtype that holds codes of `bits` bits."""
    return jnp.uint8 if bits <= 8 else jnp.uint16 if bits <= 16 else jnp.uint32
