"""How codes fill words: n values a code, p weights a code.

Where n is no power of two, a row may take fewer words if several codes share a number (`radix`):
of n = 88 two codes take 13 bits instead of 14, of n = 19 four take 17 instead of 20, of n = 84 five
fill a word. Each row is packed alone, and its last number filled up with zeros.
"""

import functools
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, UInt, UInt32

from compressors.kernels.pack import pack, unpack, words_of
from compressors.kernels.pack.layout import code_dtype
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

        Of equals one that is not slow to read, and then that of the fewest codes; one code a number
        is the layout of `compressors.kernels.pack`.
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
        radix = self.radix(k)
        if radix.c == 1:
            return unpack(words, self.width, k)
        numbers, limbs, start = -(-k // radix.c), [], 0
        for width in radix.limbs:
            end = start + words_of(numbers, width)
            limbs.append(unpack(words[..., start:end], width, numbers).astype(jnp.uint32))
            start = end
        return radix.split(limbs)[..., :k]


@functools.cache
def _radix(n: int, codes: int) -> Radix:
    numbers = [Radix(n, 1)]
    while n <= LARGEST and n ** (numbers[-1].c + 1) <= 1 << MOST_BITS:
        numbers.append(Radix(n, numbers[-1].c + 1))
    return min(numbers, key=lambda radix: (_words(radix, codes), radix.c > 1 and radix.slow))


def _words(radix: Radix, codes: int) -> int:
    if radix.c == 1:
        return words_of(codes, radix.bits)
    numbers = -(-codes // radix.c)
    return sum(words_of(numbers, width) for width in radix.limbs)
