"""TopK: the K coordinates of largest magnitude."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Constant, Contractive, Message
from compressors._largest import largest
from compressors._sparse import Sparse, check_kept, index_bits, pack_indices, unpack_indices


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TopK(Contractive):
    """C(x) = Σ_{j ∈ J} x_j e_j, with J the K largest |x_j|; equal ones by the lowest index.

    Deterministic and biased, α = K/d: for methods with error feedback. The message holds the
    indices, ⌈log2 d⌉ bits each, and the values, in the same order.

    J is always exact, and found without a sort: a few coordinates one by one, more of them by the
    threshold that exactly K pass, in time O(d) (`_largest.py`). NaN counts as the largest.
    """

    K: int = field(metadata={"static": True})
    name: ClassVar[str] = "TopK"

    def check(self, d: int) -> None:
        """Raises `ValueError` unless 1 ≤ K ≤ d."""
        check_kept(self.name, self.K, d)

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Sparse:
        """The K largest coordinates of `x`; the key is not used."""
        d = x.shape[0]
        self.check(d)
        kept = largest(x, self.K)
        return Sparse(kept, x[kept], d)

    def expand(self, code: Sparse) -> Float[Array, " d"]:
        """The dense vector."""
        return code.dense()

    def pack(self, code: Sparse) -> Message:
        """`{"indices": uint32 words, "values": [K]}`."""
        return {"indices": pack_indices(code.indices, code.d), "values": code.values}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Sparse:
        """The code; the key is not used."""
        self.check(d)
        return Sparse(unpack_indices(message["indices"], self.K, d), message["values"], d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """K values and K indices."""
        self.check(d)
        return self.K * (8 * jnp.dtype(dtype).itemsize + index_bits(d))

    def alpha(self, d: int) -> Constant:
        """α = K/d."""
        self.check(d)
        return Constant(self.K / d, "exact", "vectors with all |x_j| equal")

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """One compression: all m messages are the same."""
        return self.expand(self.compress(x, key=key))

    def expand_sum(self, codes: Sparse, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of a batch of codes, by one scatter-add."""
        return codes.weighted_sum(weights)
