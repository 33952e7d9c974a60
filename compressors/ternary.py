"""Ternary: signs and zeros times the largest coordinate (TernGrad)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from compressors._base import Constant, Message, Unbiased
from compressors._levels import Levels, norm_bits
from compressors.dithering import RandomDithering, dither, undither


TRITS = 20
"""Ternary digits in a word: 3²⁰ < 2³² < 3²¹, so 1.6 bits a digit where log2 3 = 1.585 suffice."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ternary(Unbiased):
    """C(x)_j = ‖x‖∞ sgn(x_j) with probability |x_j|/‖x‖∞, else 0.

    TernGrad (Wen et al. 2017, arXiv 1705.07878), which is random dithering with s = 1 and p = ∞.
    The message is the norm and one base-3 digit, sign + 1, an entry; a NaN or an infinity makes
    the whole vector NaN.
    """

    name: ClassVar[str] = "Ternary"
    nonfinite = "spreads"

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Levels:
        """The signs, zeros among them, and the largest magnitude."""
        return dither(x, 1, math.inf, key=key)

    def expand(self, code: Levels) -> Float[Array, " d"]:
        """The vector."""
        return undither(code, 1)

    def pack(self, code: Levels) -> Message:
        """`{"norm", "words"}`, and "dtype": an empty array that has the dtype of the vector."""
        words = pack_trits(code.levels)
        return {"norm": code.norm, "words": words, "dtype": jnp.zeros(0, code.dtype)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Levels:
        """The code; the key is not used."""
        return Levels(unpack_trits(message["words"], d), message["norm"], message["dtype"].dtype)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """⌈d·log2 3⌉ bits and a norm."""
        return math.ceil(d * math.log2(3)) + norm_bits(dtype)

    def omega(self, d: int) -> Constant:
        """ω = (√d − 1)/2, the largest ‖x‖₁‖x‖∞/‖x‖² − 1."""
        return RandomDithering(1, math.inf).omega(d)


def pack_trits(trits: Int[Array, " d"]) -> UInt32[Array, " words"]:
    """W = ⌈d/20⌉ words of d digits in {−1, 0, 1}: word w is Σ_i 3^i·(digit_(i·W + w) + 1).

    The digits of a word are W apart, so that packing reads and writes whole rows. Places at and
    beyond d hold the digit 0, that is a term of zero.
    """
    words = -(-trits.shape[0] // TRITS)
    digits = (trits + 1).astype(jnp.uint32)
    rows = jnp.pad(digits, (0, TRITS * words - digits.shape[0])).reshape(TRITS, words)
    total = rows[0]
    for i in range(1, TRITS):
        total += rows[i] * jnp.uint32(3**i)
    return total


def unpack_trits(words: UInt32[Array, " words"], d: int) -> Int[Array, " d"]:
    """The inverse of `pack_trits`, int8.

    Raises:
        ValueError: there are not ⌈d/20⌉ words.
    """
    if words.shape[0] != -(-d // TRITS):
        raise ValueError(
            f"{d} ternary digits fill {-(-d // TRITS)} words of 32 bits, not {words.shape[0]}: "
            "give the d that the digits were packed with"
        )
    rows = [(words // jnp.uint32(3**i) % 3).astype(jnp.int8) for i in range(TRITS)]
    return jnp.concatenate(rows)[:d] - 1
