"""PowerSGD: one step of power iteration a round, on the mean of the workers' matrices."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from compressors._base import packed_bits
from compressors._dtype import wide
from compressors._float import largest, quotient
from compressors._joint import Collective
from compressors.rank import check_rank


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PowerSGD(Collective):
    """The mean M of the workers' matrices by a matrix of rank r (Vogels et al., arXiv 1905.13727).

        P = mean_i M_i Q,   P̂ = orthonormal columns of P,   Q' = mean_i M_iᵀ P̂,   M̂ = P̂ Q'ᵀ

    The state is Q, kept from round to round: with the same M every round, P̂ P̂ᵀ M comes to the best
    approximation of rank r. All phases are linear in the M_i, so that the means are all-reduces and
    the result is that of one worker with M. It is biased, a projection of M, and of no use without
    error feedback: there is no α for one round (a Q orthogonal to the rows of M gives zero).

    Only the span of Q matters; the state is kept with entries of at most 1, and a round whose Q' is
    zero or not finite leaves it as it was.

    Attributes:
        r: the rank, at most min(rows, cols).
        shape: rows and columns of the matrix that the d = rows·cols entries are, row by row.
    """

    r: int = field(metadata={"static": True})
    shape: tuple[int, int] = field(metadata={"static": True})
    name: ClassVar[str] = "PowerSGD"

    def __post_init__(self) -> None:
        check_rank(self.name, self.r, self.shape)

    def check(self, d: int) -> None:
        """Raises `ValueError` unless d = rows·cols."""
        check_rank(self.name, self.r, self.shape, d)

    def init(self, d: int, dtype: Any, *, key: PRNGKeyArray) -> Float[Array, "cols r"]:
        """A Gaussian Q, the same on all workers, scaled like every state."""
        self.check(d)
        first = jnp.zeros(0, dtype)
        Q = jax.random.normal(key, (self.shape[1], self.r), wide(first))
        return Q / jnp.abs(Q).max()

    def exchange(
        self, xs: Float[Array, "n d"], state: Float[Array, "cols r"]
    ) -> tuple[Float[Array, " d"], Float[Array, "cols r"]]:
        """M̂ for the mean of the rows of `xs`, and the new Q; float32 at least within.

        What travels is of the dtype of `xs`, the means are taken in that of the state.
        """
        self.check(xs.shape[1])
        M = xs.reshape(-1, *self.shape).astype(state.dtype)
        P = _mean(jnp.einsum("nij,jr->nir", M, state), xs.dtype)
        P = jnp.linalg.qr(_scaled(P)[0])[0]
        Q = _mean(jnp.einsum("nij,ir->njr", M, P), xs.dtype)
        estimate = (P @ Q.T).reshape(-1).astype(xs.dtype)
        unit, most = _scaled(Q)
        return estimate, jnp.where(jnp.isfinite(most) & (most > 0), unit, state)

    def nbits(self, d: int, dtype: Any) -> int:
        """Bits of M_i Q and of M_iᵀ P̂: r·(rows + cols) numbers."""
        self.check(d)
        return packed_bits([jax.ShapeDtypeStruct((side, self.r), dtype) for side in self.shape])


def _mean(sent: Float[Array, "n side r"], dtype: Any) -> Float[Array, "side r"]:
    """The all-reduce: what the workers send is rounded to `dtype`, the sum is not."""
    return sent.astype(dtype).astype(sent.dtype).mean(axis=0)


def _scaled(A: Float[Array, "side r"]) -> tuple[Float[Array, "side r"], Float[Array, ""]]:
    """`A` with entries of at most 1, and its largest: squares of the entries can be taken."""
    most = largest(A)
    return quotient(A, most), most
