"""Bernoulli compressors: the whole vector, or each coordinate, is sent with some probability.

Probabilities are rounded to multiples of 2⁻³² and 2⁻¹⁶, in the draw and in the division alike, so
that both compressors are exactly unbiased, and ω is that of the rounded probability.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from compressors._base import Constant, Message, RandomSize, Unbiased, message_key
from compressors._bitmask import ranks, to_words
from compressors._dtype import wide
from compressors.kernels.threefry import random_halves


class MaybeSent(NamedTuple):
    """x/p and the flag 1, or zeros and 0."""

    sent: UInt32[Array, "*batch"]
    values: Float[Array, "*batch d"]


class Masked(NamedTuple):
    """A d-vector that is zero where it is not kept."""

    kept: Bool[Array, "*batch d"]
    values: Float[Array, "*batch d"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bernoulli(RandomSize, Unbiased):
    """C(x) = x/p with probability p, else 0.

    Unbiased, ω = 1/p − 1 for every vector. A flag word travels, and d values where it is 1. Also
    called lazy compression (Condat and Richtárik, "MURANA", 2021).

    Attributes:
        p: the probability, 2⁻³² ≤ p ≤ 1; rounded to a multiple of 2⁻³².
    """

    p: float = field(metadata={"static": True})
    name: ClassVar[str] = "Bernoulli"

    def __post_init__(self) -> None:
        _check(self.name, "p", self.p, 32)

    @property
    def realised(self) -> float:
        """The probability as it is drawn: a multiple of 2⁻³²."""
        return round(self.p * 2**32) / 2**32

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def _sent(self, key: PRNGKeyArray) -> Bool[Array, ""]:
        return jax.random.bits(key, (), jnp.uint32) <= jnp.uint32(round(self.p * 2**32) - 1)

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> MaybeSent:
        """`x`/p or zeros."""
        sent = self._sent(key)
        scaled = (x.astype(wide(x)) / self.realised).astype(x.dtype)
        return MaybeSent(sent.astype(jnp.uint32), jnp.where(sent, scaled, 0))

    def expand(self, code: MaybeSent) -> Float[Array, " d"]:
        """The values."""
        return code.values

    def pack(self, code: MaybeSent) -> Message:
        """`{"sent": one word, "values": [d]}`."""
        return {"sent": code.sent[None], "values": code.values}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> MaybeSent:
        """The code, of a whole or a trimmed message; the key is not used."""
        values = jnp.asarray(message["values"])
        return MaybeSent(jnp.asarray(message["sent"])[0], jnp.pad(values, (0, d - values.size)))

    def trim(self, message: Message, *, key: PRNGKeyArray, d: int) -> Message:
        """The values only where they are sent."""
        return {**message, "values": message["values"][: d if self._sent(key) else 0]}

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Of the larger message: one bit and d values."""
        return 1 + d * 8 * jnp.dtype(dtype).itemsize

    def expected_bits(self, d: int, dtype: Any) -> float:
        """A word and p·d values."""
        return 32 + self.realised * d * 8 * jnp.dtype(dtype).itemsize

    def omega(self, d: int) -> Constant:
        """ω = 1/p − 1."""
        return Constant(1 / self.realised - 1, "exact", "every vector")

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """The mean of m draws: x times how many were sent, over p·m."""
        messages = jnp.arange(most, dtype=m.dtype)
        sent = jax.vmap(lambda j: self._sent(message_key(key, j)))(messages) & (messages < m)
        dtype = wide(x)
        scale = sent.sum().astype(dtype) / (self.realised * m.astype(dtype))
        return (x.astype(dtype) * scale).astype(x.dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CoordinateBernoulli(RandomSize, Unbiased):
    """C(x)_j = x_j/q with probability q, else 0, independently for each coordinate.

    Unbiased, ω = 1/q − 1 for every vector. The kept values travel, in the order of their
    coordinates; which they are the receiver draws again from the sender's key.

    Attributes:
        q: the probability, 2⁻¹⁶ ≤ q ≤ 1; rounded to a multiple of 2⁻¹⁶.
    """

    q: float = field(metadata={"static": True})
    name: ClassVar[str] = "CoordinateBernoulli"

    def __post_init__(self) -> None:
        _check(self.name, "q", self.q, 16)

    @property
    def realised(self) -> float:
        """The probability as it is drawn: a multiple of 2⁻¹⁶."""
        return round(self.q * 2**16) / 2**16

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def _kept(self, key: PRNGKeyArray, d: int) -> Bool[Array, " d"]:
        return random_halves(key, d) <= jnp.uint16(round(self.q * 2**16) - 1)

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Masked:
        """The kept coordinates of `x`, over q."""
        kept = self._kept(key, x.shape[0])
        scaled = (x.astype(wide(x)) * (1 / self.realised)).astype(x.dtype)
        return Masked(kept, jnp.where(kept, scaled, 0))

    def expand(self, code: Masked) -> Float[Array, " d"]:
        """The values."""
        return code.values

    def pack(self, code: Masked) -> Message:
        """`{"values": [d]}`: the kept ones first, then zeros."""
        d = code.kept.shape[0]
        slot = jnp.where(code.kept, ranks(to_words(code.kept))[:d], d)
        return {"values": jnp.zeros_like(code.values).at[slot].set(code.values, mode="drop")}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Masked:
        """The code, of a whole or a trimmed message; `key` draws again what was kept."""
        kept = self._kept(key, d)
        values = jnp.asarray(message["values"])
        values = jnp.pad(values, (0, d - values.size))
        return Masked(kept, jnp.where(kept, values[ranks(to_words(kept))[:d]], 0))

    def trim(self, message: Message, *, key: PRNGKeyArray, d: int) -> Message:
        """The kept values."""
        return {"values": message["values"][: int(np.sum(self._kept(key, d)))]}

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Of the largest message: d values."""
        return d * 8 * jnp.dtype(dtype).itemsize

    def expected_bits(self, d: int, dtype: Any) -> float:
        """q·d values."""
        return self.realised * d * 8 * jnp.dtype(dtype).itemsize

    def omega(self, d: int) -> Constant:
        """ω = 1/q − 1."""
        return Constant(1 / self.realised - 1, "exact", "every vector")

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """The mean of m draws: x times how often each coordinate was kept, over q·m."""
        d = x.shape[0]

        def add(j: Int[Array, ""], counts: Int[Array, " d"]) -> Int[Array, " d"]:
            return counts + self._kept(message_key(key, j), d).astype(jnp.int32)

        dtype = wide(x)
        counts = jax.lax.fori_loop(0, m, add, jnp.zeros(d, jnp.int32))
        scale = counts.astype(dtype) / (self.realised * m.astype(dtype))
        return (x.astype(dtype) * scale).astype(x.dtype)


def _check(name: str, parameter: str, probability: float, bits: int) -> None:
    if not 2.0**-bits <= probability <= 1:
        raise ValueError(
            f"{name} cannot send with probability {parameter} = {probability}: give {parameter} "
            f"between 2^-{bits} and 1"
        )
