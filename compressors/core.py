"""CORE: random projections onto Gaussians that sender and receiver draw alike."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from compressors._base import Constant, Message, Unbiased
from compressors._dtype import wide
from compressors._seed import key_of, seed_of


AT_ONCE = 1 << 21
"""Normals drawn in one go; K·d of them would not fit in memory."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Sketch:
    """The K projections, and the seed that their Gaussians are drawn from."""

    projections: Float[Array, "*batch K"]
    seed: UInt32[Array, "*batch 2"]
    d: int = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CORE(Unbiased):
    """C(x) = (1/K) Σ_k ⟨u_k, x⟩ u_k with u_1 … u_K standard normal, drawn from the sender's key.

    K values travel. Both ends draw K·d normals: K times d work, and it is the receiver that pays
    it again, for each message (Yue, Zhao, Fang, He, Wang, Lin, Zhu 2023, arXiv 2309.13307). From
    E u uᵀ u uᵀ = (d + 2)I follows ω = (d + 1)/K for every vector.

    Attributes:
        K: projections; it may exceed d.
    """

    K: int = field(metadata={"static": True})
    name: ClassVar[str] = "CORE"
    nonfinite = "spreads"

    def __post_init__(self) -> None:
        if self.K < 1:
            raise ValueError(f"CORE with K = {self.K} projections sends nothing: give K >= 1")

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Sketch:
        """The projections of `x`."""
        d, dtype = x.shape[0], wide(x)
        seed = seed_of(key)

        def project(block: Array) -> Float[Array, " rows"]:
            return _normals(seed, block, d, dtype) @ x.astype(dtype)

        projections = jax.lax.map(project, self._blocks(d)).reshape(-1)[: self.K]
        return Sketch(projections.astype(x.dtype), seed, d)

    def expand(self, code: Sketch) -> Float[Array, " d"]:
        """The vector; the Gaussians are drawn again."""
        d, dtype = code.d, wide(code.projections)
        blocks = self._blocks(d)
        weights = jnp.pad(code.projections.astype(dtype) / self.K, (0, blocks.size - self.K))

        def add(total: Float[Array, " d"], part: tuple[Array, Array]) -> tuple[Array, None]:
            block, weight = part
            return total + weight @ _normals(code.seed, block, d, dtype), None

        parts = (blocks, weights.reshape(blocks.shape))
        total, _ = jax.lax.scan(add, jnp.zeros(d, dtype), parts)
        return total.astype(code.projections.dtype)

    def pack(self, code: Sketch) -> Message:
        """`{"projections": [K]}`."""
        return {"projections": code.projections}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Sketch:
        """The code, with the seed of `key`."""
        return Sketch(message["projections"], seed_of(key), d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """K values."""
        return 8 * jnp.dtype(dtype).itemsize * self.K

    def omega(self, d: int) -> Constant:
        """ω = (d + 1)/K."""
        return Constant((d + 1) / self.K, "exact", "every vector")

    def _blocks(self, d: int) -> Array:
        """The numbers 0 … K − 1 and some more, in rows that are drawn together."""
        rows = min(self.K, max(1, AT_ONCE // d))
        blocks = -(-self.K // rows)
        return jnp.arange(blocks * rows, dtype=jnp.int32).reshape(blocks, rows)


def _normals(seed: UInt32[Array, " 2"], block: Array, d: int, dtype: Any) -> Float[Array, "rows d"]:
    """u_k for each k of the block."""
    key = key_of(seed)
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(block)
    return jax.vmap(lambda key: jax.random.normal(key, (d,), dtype))(keys)
