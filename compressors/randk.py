"""RandK: K random coordinates without replacement."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Constant, Message, Unbiased, message_key
from compressors._distinct import distinct
from compressors._sparse import Sparse, check_kept, index_bits, pack_indices, unpack_indices


DRAWS_AT_ONCE = 1024
"""Indices that `compress_mean` draws in one vectorised go: more costs memory and gains nothing."""


def _wide(x: Array) -> Any:
    """The dtype to scale in: d/K rounded to bfloat16 would bias every value the same way."""
    return x.dtype if x.dtype.itemsize >= 4 else jnp.float32


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandK(Unbiased):
    """C(x) = (d/K) Σ_{j ∈ J} x_j e_j, with J uniform among the K-subsets of coordinates.

    Attributes:
        K: coordinates kept.
        indices: `"seed"`: the receiver draws J again from the sender's key, K values travel;
            `"sent"`: J travels too, ⌈log2 d⌉ bits an index, packed into uint32 words.
    """

    K: int = field(metadata={"static": True})
    indices: Literal["seed", "sent"] = field(default="seed", metadata={"static": True})
    name: ClassVar[str] = "RandK"

    def __post_init__(self) -> None:
        if self.indices not in ("seed", "sent"):
            raise ValueError(f'indices = {self.indices!r} is not known: give "seed" or "sent"')

    def check(self, d: int) -> None:
        """Raises `ValueError` unless 1 ≤ K ≤ d."""
        check_kept(self.name, self.K, d)

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Sparse:
        """K coordinates of `x`, times d/K."""
        d = x.shape[0]
        self.check(d)
        kept = distinct(key, self.K, d)
        wide = _wide(x)
        values = (x[kept].astype(wide) * (d / self.K)).astype(x.dtype)
        return Sparse(kept, values, d)

    def expand(self, code: Sparse) -> Float[Array, " d"]:
        """The dense vector."""
        return code.dense()

    def pack(self, code: Sparse) -> Message:
        """`{"values": [K]}`, and with indices sent `{"indices": uint32 words}` beside it."""
        if self.indices == "seed":
            return {"values": code.values}
        return {"indices": pack_indices(code.indices, code.d), "values": code.values}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Sparse:
        """The code; with indices from the seed, `key` draws them again."""
        self.check(d)
        if self.indices == "seed":
            return Sparse(distinct(key, self.K, d), message["values"], d)
        return Sparse(unpack_indices(message["indices"], self.K, d), message["values"], d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """K values, and K indices where they are sent."""
        self.check(d)
        value = 8 * jnp.dtype(dtype).itemsize
        return self.K * (value + (index_bits(d) if self.indices == "sent" else 0))

    def omega(self, d: int) -> Constant:
        """ω = d/K − 1."""
        self.check(d)
        return Constant(d / self.K - 1, "exact", "every vector")

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """The mean of m ≥ 1 draws: x times how often each coordinate was drawn, times d/(K·m).

        The counts depend on `key` and `m` alone: under a `vmap` over many x they are drawn once.
        """
        d = x.shape[0]
        self.check(d)
        wide = _wide(x)
        counts = self._counts(m.astype(jnp.int32), d, key=key, most=most)
        scale = counts.astype(wide) * (d / self.K) / m.astype(wide)
        return (x.astype(wide) * scale).astype(x.dtype)

    def _counts(
        self, m: Int[Array, ""], d: int, *, key: PRNGKeyArray, most: int
    ) -> Int[Array, " d"]:
        """How often each coordinate occurs in messages 0 … m − 1."""
        tile = min(most, max(1, DRAWS_AT_ONCE // self.K))

        def add(t: Int[Array, ""], counts: Int[Array, " d"]) -> Int[Array, " d"]:
            messages = t * tile + jnp.arange(tile, dtype=jnp.int32)
            kept = jax.vmap(lambda j: distinct(message_key(key, j), self.K, d))(messages)
            beyond = (messages >= m)[:, None]
            return counts.at[jnp.where(beyond, d, kept)].add(1, mode="drop")

        return jax.lax.fori_loop(0, -(-m // tile), add, jnp.zeros(d, jnp.int32))

    def expand_sum(self, codes: Sparse, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of a batch of codes, by one scatter-add."""
        return codes.weighted_sum(weights)
