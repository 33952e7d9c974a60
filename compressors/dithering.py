"""Random dithering (QSGD): each coordinate rounded at random to a multiple of ‖x‖_p/s."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from compressors._base import Constant, Message, Unbiased
from compressors._levels import (
    Levels,
    check_norm,
    flatness,
    fractions,
    level_bits,
    norm,
    norm_bits,
    pack_levels,
    signed,
    unpack_levels,
)
from compressors._uniform import happens


MOST_LEVELS = 2**15 - 1
"""Levels whose signed codes fit 16 bits."""


def dither(x: Float[Array, " d"], s: int, p: int | float, *, key: PRNGKeyArray) -> Levels:
    """sgn(x_j)·(⌊t_j⌋ or ⌊t_j⌋ + 1) with mean t_j = s|x_j|/‖x‖_p, and the norm."""
    size = norm(x, p)
    t = fractions(x, size) * s
    down = jnp.floor(t)
    levels = jnp.where(happens(key, t - down), down + 1, down).astype(jnp.int32)
    return Levels(signed(x, levels, s), size, jnp.dtype(x.dtype))


def undither(code: Levels, s: int) -> Float[Array, " d"]:
    """The vector (norm/s)·levels; a small norm is raised on the way, lest norm/s be flushed."""
    norm = code.norm
    raised = norm < 1
    step = jnp.where(raised, norm * 2.0**24, norm) / s
    values = code.levels.astype(norm.dtype) * step
    return (values * jnp.where(raised, 2.0**-24, 1).astype(norm.dtype)).astype(code.dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandomDithering(Unbiased):
    """C(x)_j = (‖x‖_p/s) sgn(x_j) ξ_j; ξ_j is ⌊t_j⌋ or ⌊t_j⌋ + 1, with mean t_j = s|x_j|/‖x‖_p.

    QSGD (Alistarh, Grubic, Li, Tomioka, Vojnovic 2017, arXiv 1610.02132) for p = 2. The message is
    the norm (float32; float64 for float64) and ⌈log2(2s + 1)⌉ bits an entry for level + s. The
    probability of rounding up is as exact as a float (`_uniform.py`); a NaN or an infinity makes
    the whole vector NaN.

    Below, v(t) = f(1 − f) with f = t − ⌊t⌋ is the variance of ξ. The concave envelope of
    u ↦ v(√u) is √u − u up to u = 1/4 and 1/4 beyond, so by Jensen's inequality
    Σ v(t_j) ≤ √d‖t‖ − ‖t‖² where 2‖t‖ ≤ √d, else ≤ d/4; at constant |x_j| the first is an
    equality. `omega` is that over ‖t‖², at the smallest possible ‖t‖ = s‖x‖₂/‖x‖_p: sharper than
    the published min{d/s², √d/s}.

    Attributes:
        s: levels above zero, at most 32767.
        p: of the norm, at least 1; `math.inf` for the largest coordinate.
    """

    s: int = field(metadata={"static": True})
    p: int | float = field(default=2, metadata={"static": True})
    name: ClassVar[str] = "RandomDithering"
    nonfinite = "spreads"

    def __post_init__(self) -> None:
        if not 1 <= self.s <= MOST_LEVELS:
            raise ValueError(
                f"{self.name} with s = {self.s} levels does not fit codes of 2 to 16 bits: "
                f"give s between 1 and {MOST_LEVELS}"
            )
        check_norm(self.name, self.p)

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Levels:
        """The signed levels and the norm."""
        return dither(x, self.s, self.p, key=key)

    def expand(self, code: Levels) -> Float[Array, " d"]:
        """The vector."""
        return undither(code, self.s)

    def pack(self, code: Levels) -> Message:
        """`{"norm", "words"}`, and "dtype": an empty array that has the dtype of the vector."""
        return pack_levels(code, self.s)

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Levels:
        """The code; the key is not used."""
        return unpack_levels(message, self.s, d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Levels of all d entries, and a norm."""
        return d * level_bits(self.s) + norm_bits(dtype)

    def omega(self, d: int) -> Constant:
        """√d/S − 1 where 2S ≤ √d, else d/(4S²), with S = s·min‖x‖₂/‖x‖_p = s·d^min(0, 1/2 − 1/p).

        For p = ∞, (√(1 + (d − 1)/s²) − 1)/2: with one coordinate 1 and the others r, the variance
        over the squared norm is at most (1 + (d − 1)r/s)/(1 + (d − 1)r²) − 1, largest at
        r = 1/(s + √(s² + d − 1)), where s·r ≤ 1/2 makes it an equality.
        For s = 1 all t_j ≤ 1 and v(t) = t − t², so that √d/S − 1 holds for every d.
        """
        if self.p == math.inf:
            root = math.sqrt(self.s**2 + d - 1)
            worst = f"one coordinate 1, the others {1 / (self.s + root):.6g}"
            return Constant((root / self.s - 1) / 2, "exact", worst)
        S, root = self.s / flatness(d, self.p), math.sqrt(d)
        if self.s == 1 or root >= 2 * S:
            attained = self.p <= 2
            note = "constant |x_j|" if attained else "‖x‖_p ≤ ‖x‖₂ and Jensen's inequality"
            return Constant(root / S - 1, "exact" if attained else "bound", note)
        return Constant(d / (4 * S**2), "bound", "a coordinate's variance is at most ‖x‖_p²/(4s²)")
