"""Several codes of n values in one number: c of them in b = ⌈log2 n^c⌉ bits, n no power of two.

The codes d_0 … d_{c−1} are the digits of a fraction in base n, of which b bits are kept:

    F = ⌈2^b·(d_0/n + d_1/n² + … + d_{c−1}/n^c)⌉ < 2^b

Since n^c ≤ 2^b, F/2^b lies below the next fraction of c digits, so that its digits are those of the
codes. Reading them takes no division: d_0 is what n·F carries beyond b bits, and the rest goes on
with the b bits that are left. Writing is one division by n a digit, from the last to the first,
each rounded up: nested ceilings are the ceiling of the whole.

F is held in limbs of 16 bits, the lowest first, so that 32-bit arithmetic serves for all n ≤ 2^16.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, UInt32


LIMB = 16
LARGEST = 1 << LIMB
MOST_BITS = 64


class Radix(NamedTuple):
    """How many codes share a number.

    Attributes:
        n: values of a code, 2 to 2^16.
        c: codes in a number; n^c is at most 2^64.
    """

    n: int
    c: int

    @property
    def bits(self) -> int:
        """Bits of a number, b."""
        return (self.n**self.c - 1).bit_length()

    @property
    def limbs(self) -> tuple[int, ...]:
        """The bits of each limb, the lowest first."""
        whole, rest = divmod(self.bits, LIMB)
        return (LIMB,) * whole + ((rest,) if rest else ())

    def join(self, codes: list[UInt32[Array, "*numbers"]]) -> list[UInt32[Array, "*numbers"]]:
        """The limbs of the numbers whose digits are the c codes, all below n."""
        n = jnp.uint32(self.n)
        F = [jnp.zeros_like(codes[0]) for _ in self.limbs]
        for digit in codes[::-1]:
            carry, raised = n - 1, []
            for limb, width in zip(F, self.limbs, strict=True):
                total = limb + carry
                raised.append(total & _mask(width))
                carry = total >> width
            rest, quotients = digit + carry, []
            for limb, width in zip(raised[::-1], self.limbs[::-1], strict=True):
                total = (rest << width) | limb
                quotients.append(total // n)
                rest = total % n
            F = quotients[::-1]
        return F

    def split(self, limbs: list[UInt32[Array, "*numbers"]]) -> list[UInt32[Array, "*numbers"]]:
        """The c codes, the inverse of `join`."""
        n, F, codes = jnp.uint32(self.n), list(limbs), []
        for _ in range(self.c):
            carry = jnp.zeros_like(F[0])
            for j, width in enumerate(self.limbs):
                total = F[j] * n + carry
                F[j], carry = total & _mask(width), total >> width
            codes.append(carry)
        return codes


def _mask(width: int) -> Array:
    return jnp.uint32((1 << width) - 1)
