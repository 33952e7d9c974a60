"""Several codes of n values in one number: c of them in b = ⌈log2 n^c⌉ bits, n no power of two.

The codes d_0 … d_{c−1} are the digits of a fraction in base n, of which b bits are kept:

    F = ⌈2^b·(d_0/n + d_1/n² + … + d_{c−1}/n^c)⌉ < 2^b

Since n^c ≤ 2^b, F/2^b lies below the next fraction of c digits, so that its digits are those of the
codes. What n^s·F carries beyond b bits are the first s of them as one integer, and the rest goes on
with the b bits that are left: no long division. Writing is one division by n a digit, from the last
to the first, each rounded up: nested ceilings are the ceiling of the whole.

F is held in limbs of 16 bits, the lowest first, so that 32-bit arithmetic serves for all n ≤ 2^16
and n^s ≤ 2^16.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt, UInt32

from compressors.kernels.pack.layout import code_dtype


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

    @property
    def runs(self) -> tuple[int, ...]:
        """How many codes are read from a number at a time: as many as fit a limb, then the rest."""
        most = max(s for s in range(1, self.c + 1) if self.n**s <= LARGEST)
        whole, rest = divmod(self.c, most)
        return (most,) * whole + ((rest,) if rest else ())

    @property
    def slow(self) -> bool:
        """Whether timings found reading slow: an odd limb, or much that is read again and again."""
        return 1 in self.limbs or self.limbs == (7,) or (len(self.runs) == 2 and self.c > 5)

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

    def split(self, limbs: list[UInt32[Array, "*rows numbers"]]) -> UInt[Array, "*rows codes"]:
        """The codes: of all numbers the first, then of all the second; the inverse of `join`."""
        F, runs = list(limbs), []
        for s in self.runs:
            base, carry = jnp.uint32(self.n**s), jnp.zeros_like(F[0])
            for j, width in enumerate(self.limbs):
                total = F[j] * base + carry
                F[j], carry = total & _mask(width), total >> width
            runs.append(carry)
        if len(runs) < 3 or self.runs[0] == 1:
            pairs = zip(runs, self.runs, strict=True)
            return jnp.concatenate([d for run, s in pairs for d in self._digits(run, s)], axis=-1)
        # XLA writes runs that lie side by side to memory and reads them from there. It would
        # compute all that leads up to a run once more for each code of it.
        head = jnp.concatenate([run.astype(jnp.uint16) for run in runs[:-1]], axis=-1)
        head = head.astype(jnp.uint32).reshape(*head.shape[:-1], -1, limbs[0].shape[-1])
        codes = jnp.stack(self._digits(head, self.runs[0]), axis=-2)
        last = self._digits(runs[-1], self.runs[-1])
        return jnp.concatenate([codes.reshape(*limbs[0].shape[:-1], -1), *last], axis=-1)

    def _digits(self, run: UInt32[Array, "*numbers"], s: int) -> list[UInt[Array, "*numbers"]]:
        """The s digits of integers, the most significant first."""
        shifted = [jax.lax.div(run, jnp.uint32(self.n**i)) for i in range(s - 1, -1, -1)]
        digits = [shifted[0], *(jax.lax.rem(part, jnp.uint32(self.n)) for part in shifted[1:])]
        return [digit.astype(code_dtype((self.n - 1).bit_length())) for digit in digits]


def _mask(width: int) -> Array:
    return jnp.uint32((1 << width) - 1)
