"""Top1Sampling: one coordinate, drawn by its share of the 1-norm."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Constant, Message, Unbiased
from compressors._dtype import wide
from compressors._float import largest, quotient
from compressors._sparse import Sparse, index_bits, pack_indices, unpack_indices


BRANCHES = 32
"""Children of a node in the tree of sums."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Top1Sampling(Unbiased):
    """C(x) = ‖x‖₁ sign(x_j) e_j with probability |x_j|/‖x‖₁: importance sampling.

    Unbiased, E‖C(x) − x‖² = ‖x‖₁² − ‖x‖², so ω = d − 1. One index of ⌈log2 d⌉ bits and one value
    of the dtype of x travel.

    The coordinate is drawn by a descent through a tree of sums, 32 children a node and a uniform
    number a level, so that rounding changes no probability by more than its own order. Where ‖x‖₁
    is beyond the dtype of x the value is infinite, and NaN where x holds NaN or infinities.
    """

    name: ClassVar[str] = "Top1Sampling"
    nonfinite = "spreads"

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Sparse:
        """One coordinate and the signed 1-norm."""
        d = x.shape[0]
        most = largest(x).astype(wide(x))
        sums = [quotient(jnp.abs(x), most)]
        while sums[-1].shape[0] > 1:
            sums.append(_grouped(sums[-1]).sum(axis=1))
        index = jnp.asarray(0, jnp.int32)
        for level in reversed(range(len(sums) - 1)):
            children = _grouped(sums[level])[index]
            step = _share(children, key=jax.random.fold_in(key, level))
            index = index * BRANCHES + step
        index = jnp.minimum(index, d - 1)
        sign = jnp.where(x[index] < 0, -1, 1).astype(most.dtype)
        norm = most * sums[-1][0]
        return Sparse(index[None], (sign * norm).astype(x.dtype)[None], d)

    def expand(self, code: Sparse) -> Float[Array, " d"]:
        """The dense vector."""
        return code.dense()

    def pack(self, code: Sparse) -> Message:
        """`{"indices": one word, "values": [1]}`."""
        return {"indices": pack_indices(code.indices, code.d), "values": code.values}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Sparse:
        """The code; the key is not used."""
        return Sparse(unpack_indices(message["indices"], 1, d), message["values"], d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """An index and a value."""
        return index_bits(d) + 8 * jnp.dtype(dtype).itemsize

    def omega(self, d: int) -> Constant:
        """ω = d − 1, the most that ‖x‖₁²/‖x‖² − 1 can be."""
        return Constant(d - 1.0, "exact", "vectors with all |x_j| equal")

    def expand_sum(self, codes: Sparse, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of a batch of codes, by one scatter-add."""
        return codes.weighted_sum(weights)


def _grouped(sums: Float[Array, " nodes"]) -> Float[Array, "parents branches"]:
    return jnp.pad(sums, (0, -sums.shape[0] % BRANCHES)).reshape(-1, BRANCHES)


def _share(sums: Float[Array, " branches"], *, key: PRNGKeyArray) -> Int[Array, ""]:
    """A child, drawn by its share of the sum; never one of share zero unless all are."""
    ends = jnp.cumsum(sums)
    point = jax.random.uniform(key, (), sums.dtype) * ends[-1]
    return jnp.minimum((ends <= point).sum(dtype=jnp.int32), BRANCHES - 1)
