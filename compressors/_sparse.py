"""The sparse code that compressors share which keep some coordinates, and its packed indices."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from compressors.kernels.pack import pack, unpack


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Sparse:
    """A d-vector that is zero but for K coordinates; a leading axis makes it a batch.

    Values of a coordinate that is named more than once add up.
    """

    indices: Int[Array, "*batch K"]
    values: Float[Array, "*batch K"]
    d: int = field(metadata={"static": True})

    def dense(self) -> Float[Array, " d"]:
        """The vector."""
        return jnp.zeros(self.d, self.values.dtype).at[self.indices].add(self.values)

    def weighted_sum(self, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """Σ_p weights[p] · vector p of a batch, by one scatter-add."""
        terms = weights[:, None] * self.values
        return jnp.zeros(self.d, terms.dtype).at[self.indices].add(terms)


def index_bits(d: int) -> int:
    """Bits of one packed index: ⌈log2 d⌉, and 1 where d = 1."""
    return max(1, (d - 1).bit_length())


def pack_indices(indices: Int[Array, " K"], d: int) -> UInt32[Array, " words"]:
    """K indices below d in ⌈K·index_bits(d)/32⌉ words.

    The layout is sequential, so that the first indices are in the first words and a message can be
    cut short.
    """
    return pack(indices.astype(jnp.uint32), index_bits(d), layout="sequential")


def unpack_indices(words: UInt32[Array, " words"], K: int, d: int) -> Int[Array, " K"]:
    """The inverse of `pack_indices`, int32."""
    return unpack(words, index_bits(d), K, layout="sequential").astype(jnp.int32)


def check_kept(name: str, K: int, d: int) -> None:
    """Raises `ValueError` unless 1 ≤ K ≤ d."""
    if not 1 <= K <= d:
        raise ValueError(
            f"{name} cannot keep K = {K} of d = {d} coordinates: give K between 1 and {d}"
        )
