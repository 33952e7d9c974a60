"""How codes fill words: n values a code, p weights a code.

Where n is no power of two, a row may take fewer words if several codes share a number (`radix`):
of n = 88 two codes take 13 bits instead of 14, of n = 19 four take 17 instead of 20, of n = 84 five
fill a word. Each row is packed alone, and its last number filled up with zeros.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt, UInt32

from compressors.kernels.pack import pack, unpack, words_of
from compressors.kernels.pack.layout import BYTE, code_dtype
from compressors.weights.radix import LARGEST, MOST_BITS, Radix


@dataclass(frozen=True)
class Coding:
    """Codes 0 … n − 1, each of which stands for p neighbouring weights of a row.

    Attributes:
        n: values of a code, 2 or more.
        p: weights a code; the last code of a row may stand for fewer.
    """

    n: int
    p: int = 1

    @property
    def width(self) -> int:
        """⌈log2 n⌉, the bits of a code packed by itself."""
        return (self.n - 1).bit_length()

    def codes(self, inputs: int) -> int:
        """Codes of a row of so many weights."""
        return -(-inputs // self.p)

    def radix(self, codes: int) -> Radix:
        """How many codes of a row of so many share a number: what takes the fewest words.

        Of equals one without a limb of a single bit, which is slow to read, and then that of the
        fewest codes; one code a number is the layout of `compressors.kernels.pack`.
        """
        return _radix(self.n, codes)

    def words(self, codes: int) -> int:
        """Words of 32 bits that a row of so many codes fills."""
        return _words(self.radix(codes), codes)

    def pack(self, codes: UInt[Array, "*rows k"]) -> UInt32[Array, "*rows words"]:
        """The words of each row."""
        k = codes.shape[-1]
        radix = self.radix(k)
        if radix.c == 1:
            return pack(codes, self.width)
        numbers = -(-k // radix.c)
        spare = [(0, 0)] * (codes.ndim - 1) + [(0, radix.c * numbers - k)]
        digits = jnp.pad(codes.astype(jnp.uint32), spare).reshape(*codes.shape[:-1], -1, numbers)
        limbs = radix.join(list(jnp.unstack(digits, axis=-2)))
        planes = [
            pack(limb.astype(code_dtype(width)), width)
            for limb, width in zip(limbs, radix.limbs, strict=True)
        ]
        return jnp.concatenate(planes, axis=-1)

    def unpack(self, words: UInt32[Array, "*rows words"], k: int) -> UInt[Array, "*rows k"]:
        """The k codes of each row, the inverse of `pack`."""
        return jnp.concatenate(self.parts(words, k), axis=-1)

    def parts(self, words: UInt32[Array, "*rows words"], k: int) -> list[UInt[Array, "*rows part"]]:
        """The k codes of each row in runs of neighbours that lie alike, from the first to the last.

        To put them side by side costs more than to unpack them.
        """
        radix = self.radix(k)
        digits = _shares(words, k, self.width) if radix.c == 1 else _digits(words, k, radix)
        starts = range(0, k, digits[0].shape[-1])
        return [digit[..., : k - start] for start, digit in zip(starts, digits, strict=False)]


@functools.cache
def _radix(n: int, codes: int) -> Radix:
    numbers = [Radix(n, 1)]
    while n <= LARGEST and n ** (numbers[-1].c + 1) <= 1 << MOST_BITS:
        numbers.append(Radix(n, numbers[-1].c + 1))
    return min(numbers, key=lambda radix: (_words(radix, codes), radix.c > 1 and 1 in radix.limbs))


def _words(radix: Radix, codes: int) -> int:
    if radix.c == 1:
        return words_of(codes, radix.bits)
    numbers = -(-codes // radix.c)
    return sum(words_of(numbers, width) for width in radix.limbs)


def _shares(
    words: UInt32[Array, "*rows words"], k: int, width: int
) -> list[UInt[Array, "*rows share"]]:
    """The codes of the planar layout that lie on top of one another."""
    if width not in (1, 2, 4, 8):
        return [unpack(words, width, k)]
    data = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(*words.shape[:-1], -1)
    mask = jnp.uint8((1 << width) - 1)
    return [(data >> shift) & mask for shift in range(0, BYTE, width)]


def _digits(
    words: UInt32[Array, "*rows words"], k: int, radix: Radix
) -> list[UInt[Array, "*rows numbers"]]:
    """The digits of the numbers that codes share."""
    numbers, limbs, start = -(-k // radix.c), [], 0
    for width in radix.limbs:
        end = start + words_of(numbers, width)
        limbs.append(unpack(words[..., start:end], width, numbers).astype(jnp.uint32))
        start = end
    limbs = jax.lax.optimization_barrier(limbs)
    dtype = code_dtype((radix.n - 1).bit_length())
    # Fused into what reads a digit, all that comes before it would be computed once more.
    return jax.lax.optimization_barrier([d.astype(dtype) for d in radix.split(limbs)])
