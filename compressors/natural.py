"""Natural compression and natural dithering: magnitudes rounded at random to powers of two."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt16

from compressors._base import Constant, Message, Unbiased
from compressors._float import bits_of, float_format, magnitude_bits
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
from compressors._uniform import happens, uniform_bits
from compressors.kernels.pack import pack, unpack


MOST_POWERS = 126
"""Powers 1, 1/2, …, 2^(1 − s) that are all normal numbers of float32."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Powers:
    """Sign and biased exponent of each entry, as the float of `dtype` has them.

    The code of −0 stands for NaN; zero has the code 0.
    """

    codes: UInt16[Array, "*batch d"]
    dtype: Any = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NaturalCompression(Unbiased):
    """C(x)_j = sgn(x_j)·2^⌊log2|x_j|⌋ or twice that, with mean x_j.

    Horváth, Ho, Horváth, Sahu, Canini, Richtárik 2019, arXiv 1905.10988. Between two powers of two
    the mantissa is the probability of the upper one: uniform random bits are added to it, the carry
    moves the exponent, and the mantissa is dropped. All mantissa bits are drawn, so this is exact
    for every finite number (`_uniform.py`).

    The message is sign and exponent: 9 bits an entry for float32 and bfloat16, 12 for float64, 6
    for float16. NaN and infinities stay where they are. In the top binade (from 2^127 in float32,
    32768 in float16) the upper power is ∞ and is sent as such. Subnormal numbers are rounded to
    zero or the smallest normal number, unbiased, with an error that ω does not cover.
    """

    name: ClassVar[str] = "NaturalCompression"

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Powers:
        """Signs and rounded exponents."""
        form, magnitude = float_format(x.dtype), magnitude_bits(x)
        draw, width = (jnp.uint64, 64) if x.dtype == jnp.float64 else (jnp.uint32, 32)
        carry = uniform_bits(key, x.shape[0], draw) >> (width - form.mantissa)
        exponent = (magnitude + carry.astype(form.integer)) >> form.mantissa
        sign = bits_of(x) >> form.exponent + form.mantissa << form.exponent
        codes = jnp.where(exponent == 0, 0, exponent | sign)
        codes = jnp.where(magnitude > form.infinity, 1 << form.exponent, codes)
        return Powers(codes.astype(jnp.uint16), jnp.dtype(x.dtype))

    def expand(self, code: Powers) -> Float[Array, " d"]:
        """The vector."""
        form = float_format(code.dtype)
        bits = code.codes.astype(form.integer) << form.mantissa
        values = jax.lax.bitcast_convert_type(bits, code.dtype)
        return jnp.where(code.codes == 1 << form.exponent, jnp.nan, values)

    def pack(self, code: Powers) -> Message:
        """`{"words"}`, and "dtype": an empty array that has the dtype of the vector."""
        words = pack(code.codes, _code_bits(code.dtype))
        return {"words": words, "dtype": jnp.zeros(0, code.dtype)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Powers:
        """The code; the key is not used."""
        dtype = message["dtype"].dtype
        codes = unpack(message["words"], _code_bits(dtype), d)
        return Powers(codes.astype(jnp.uint16), dtype)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Sign and exponent of d entries."""
        return d * _code_bits(dtype)

    def omega(self, d: int) -> Constant:
        """ω = 1/8: (t − 1)(2 − t)/t² over t in [1, 2] is largest at t = 4/3."""
        return Constant(1 / 8, "exact", "all |x_j| = 4/3·2^m, with any m for each j")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NaturalDithering(Unbiased):
    """C(x)_j = ‖x‖_p sgn(x_j) ξ_j, with ξ_j a power of two or 0 and mean y_j = |x_j|/‖x‖_p.

    ξ_j is one of the two neighbours of y_j among 1, 1/2, 1/4, …, 2^(1 − s), 0 (Horváth et al.
    2019, arXiv 1905.10988). The message is the norm (float32; float64 for float64)
    and ⌈log2(2s + 1)⌉ bits an entry for s ± k, where the level k > 0 is 2^(k − s). The probability
    of the upper neighbour is as exact as a float (`_uniform.py`); a NaN or an infinity makes the
    whole vector NaN.

    Attributes:
        s: levels above zero, at most 126.
        p: of the norm, at least 1; `math.inf` for the largest coordinate.
    """

    s: int = field(metadata={"static": True})
    p: int | float = field(default=2, metadata={"static": True})
    name: ClassVar[str] = "NaturalDithering"
    nonfinite = "spreads"

    def __post_init__(self) -> None:
        if not 1 <= self.s <= MOST_POWERS:
            raise ValueError(
                f"{self.name} with s = {self.s} levels reaches below the normal float32 numbers: "
                f"give s between 1 and {MOST_POWERS}"
            )
        check_norm(self.name, self.p)

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Levels:
        """The signed levels and the norm."""
        size = norm(x, self.p)
        y, form, least = fractions(x, size), float_format(size.dtype), 2.0 ** (1 - self.s)
        bits = bits_of(y)
        level = (bits >> form.mantissa).astype(jnp.int32) - (form.one - self.s)
        mantissa = (bits & ((1 << form.mantissa) - 1)).astype(y.dtype) * 2.0**-form.mantissa
        small = y < least
        up = happens(key, jnp.where(small, y / least, mantissa))
        levels = jnp.where(small, 0, level) + up.astype(jnp.int32)
        return Levels(signed(x, levels, self.s), size, jnp.dtype(x.dtype))

    def expand(self, code: Levels) -> Float[Array, " d"]:
        """The vector."""
        form = float_format(code.norm.dtype)
        level = jnp.abs(code.levels).astype(jnp.int32)
        exponent = jnp.where(level == 0, 0, level + (form.one - self.s)).astype(form.integer)
        power = jax.lax.bitcast_convert_type(exponent << form.mantissa, code.norm.dtype)
        return (jnp.where(code.levels < 0, -power, power) * code.norm).astype(code.dtype)

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
        """1/8 + 2a²/9 where a = 2^(1 − s)·√d·max‖x‖_p/‖x‖₂ is at most 9/4, else a − 1.

        Let θ‖x‖² be the share of the coordinates with y_j < 2^(1 − s). Their variance is
        2^(1 − s)‖x‖_p·Σ|x_j| − θ‖x‖² ≤ (a√θ − θ)‖x‖², that of the others at most (1 − θ)/8·‖x‖²;
        the largest sum over θ in [0, 1] is this. Sharper than the published
        1/8 + a·min{1, a}.
        """
        a = 2.0 ** (1 - self.s) * d**0.5 * flatness(d, self.p)
        if a <= 9 / 4:
            return Constant(1 / 8 + 2 * a**2 / 9, "bound", "the worst share of small coordinates")
        if self.p <= 2:
            return Constant(a - 1, "exact", "constant |x_j|")
        return Constant(a - 1, "bound", "all coordinates small, and ‖x‖_p ≤ ‖x‖₂")


def _code_bits(dtype: Any) -> int:
    """Sign and exponent."""
    return 1 + float_format(dtype).exponent
