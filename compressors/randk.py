"""RandK and its kin: K random coordinates, without and with replacement, scaled or as they are."""

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Compressor, Constant, Contractive, Message, Unbiased, message_key
from compressors._distinct import below, distinct
from compressors._dtype import wide
from compressors._sparse import Sparse, check_kept, index_bits, pack_indices, unpack_indices
from compressors.kernels.threefry import IMPL


DRAWS_AT_ONCE = 1024
"""Indices that `compress_mean` draws in one vectorised go: more costs memory and gains nothing."""


@dataclass(frozen=True)
class _RandomCoordinates(Compressor):
    """C(x) = factor · Σ_k x_{j_k} e_{j_k} over K random coordinates j_1 … j_K.

    Attributes:
        K: coordinates drawn.
        indices: `"seed"`: the receiver draws them again from the sender's key, K values travel;
            `"sent"`: they travel too, ⌈log2 d⌉ bits an index, packed into uint32 words.
    """

    K: int = field(metadata={"static": True})
    indices: Literal["seed", "sent"] = field(default="seed", metadata={"static": True})

    def __post_init__(self) -> None:
        if self.indices not in ("seed", "sent"):
            raise ValueError(f'indices = {self.indices!r} is not known: give "seed" or "sent"')

    @abc.abstractmethod
    def _factor(self, d: int) -> float:
        """What a value that is sent is multiplied by."""

    def _draw(self, key: PRNGKeyArray, d: int) -> Int[Array, " K"]:
        """The coordinates: without replacement, every K-subset equally likely."""
        return distinct(key, self.K, d)

    def check(self, d: int) -> None:
        """Raises `ValueError` unless 1 ≤ K ≤ d."""
        check_kept(self.name, self.K, d)

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Sparse:
        """K coordinates of `x`, times the factor."""
        d = x.shape[0]
        self.check(d)
        kept = self._draw(key, d)
        values = (x[kept].astype(wide(x)) * self._factor(d)).astype(x.dtype)
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
            return Sparse(self._draw(key, d), message["values"], d)
        return Sparse(unpack_indices(message["indices"], self.K, d), message["values"], d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """K values, and K indices where they are sent."""
        self.check(d)
        value = 8 * jnp.dtype(dtype).itemsize
        return self.K * (value + (index_bits(d) if self.indices == "sent" else 0))

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """The mean of m ≥ 1 draws: x times how often each coordinate was drawn, times factor/m.

        The counts depend on `key` and `m` alone: under a `vmap` over many x they are drawn once.
        """
        d = x.shape[0]
        self.check(d)
        dtype = wide(x)
        counts = self._counts(m.astype(jnp.int32), d, key=key, most=most)
        scale = counts.astype(dtype) * self._factor(d) / m.astype(dtype)
        return (x.astype(dtype) * scale).astype(x.dtype)

    def _counts(
        self, m: Int[Array, ""], d: int, *, key: PRNGKeyArray, most: int
    ) -> Int[Array, " d"]:
        """How often each coordinate occurs in messages 0 … m − 1."""
        tile = min(most, max(1, DRAWS_AT_ONCE // self.K))

        # Written for many senders at once: mapped over them, a loop of m turns would carry every
        # sender's counts through a choice in every turn.
        @jax.custom_batching.custom_vmap
        def counts(m: Array, key: Array) -> Array:
            senders = m.reshape(-1, 1, 1)
            keys = jax.random.wrap_key_data(key.reshape(-1, 2), impl=IMPL)
            first = d * jnp.arange(len(senders), dtype=jnp.int32)[:, None, None]

            def add(t: Int[Array, ""], total: Int[Array, " places"]) -> Int[Array, " places"]:
                messages = t * tile + jnp.arange(tile, dtype=jnp.int32)
                drawn = jax.vmap(
                    lambda key: jax.vmap(lambda j: self._draw(message_key(key, j), d))(messages)
                )(keys)
                beyond = messages[None, :, None] >= senders
                return total.at[jnp.where(beyond, total.size, first + drawn)].add(1, mode="drop")

            turns = -(-jnp.max(senders) // tile)
            total = jnp.zeros(len(senders) * d, jnp.int32)
            return jax.lax.fori_loop(0, turns, add, total).reshape(*m.shape, d)

        @counts.def_vmap
        def _(size: int, mapped: list[bool], *arguments: Array) -> tuple[Array, bool]:
            whole = (
                a if is_mapped else jnp.broadcast_to(a, (size, *a.shape))
                for a, is_mapped in zip(arguments, mapped, strict=True)
            )
            return counts(*whole), True

        return counts(m, jax.random.key_data(key))

    def expand_sum(self, codes: Sparse, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of a batch of codes, by one scatter-add."""
        return codes.weighted_sum(weights)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandK(_RandomCoordinates, Unbiased):
    """C(x) = (d/K) Σ_{j ∈ J} x_j e_j, with J uniform among the K-subsets of coordinates.

    Unbiased, ω = d/K − 1 for every vector. K values travel, and J where `indices="sent"`.
    """

    name: ClassVar[str] = "RandK"

    def _factor(self, d: int) -> float:
        return d / self.K

    def omega(self, d: int) -> Constant:
        """ω = d/K − 1."""
        self.check(d)
        return Constant(d / self.K - 1, "exact", "every vector")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScaledRandK(_RandomCoordinates, Contractive):
    """C(x) = Σ_{j ∈ J} x_j e_j, with J uniform among the K-subsets of coordinates: RandK·K/d.

    Contractive in expectation, α = K/d for every vector. K values travel, and J where
    `indices="sent"`.
    """

    name: ClassVar[str] = "ScaledRandK"

    def _factor(self, d: int) -> float:
        return 1.0

    def alpha(self, d: int) -> Constant:
        """α = K/d."""
        self.check(d)
        return Constant(self.K / d, "exact", "every vector")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandKWithReplacement(_RandomCoordinates, Unbiased):
    """C(x) = (1/K) Σ_k d·x_{j_k} e_{j_k}, with j_1 … j_K independent and uniform: K may exceed d.

    Unbiased, ω = (d − 1)/K for every vector, which is more than RandK's d/K − 1 unless K = 1. K
    values travel, one for each draw, and the indices where `indices="sent"`.
    """

    name: ClassVar[str] = "RandKWithReplacement"

    def check(self, d: int) -> None:
        """Raises `ValueError` unless K ≥ 1."""
        if self.K < 1:
            raise ValueError(f"{self.name} cannot draw K = {self.K} coordinates: give K >= 1")

    def _factor(self, d: int) -> float:
        return d / self.K

    def _draw(self, key: PRNGKeyArray, d: int) -> Int[Array, " K"]:
        return below(key, jnp.full(self.K, d, jnp.int32))

    def omega(self, d: int) -> Constant:
        """ω = (d − 1)/K."""
        self.check(d)
        return Constant((d - 1) / self.K, "exact", "every vector")
