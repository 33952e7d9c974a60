"""RankR: the best approximation of a matrix by one of rank r."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from compressors._base import Constant, Contractive, Message
from compressors._dtype import wide
from compressors._float import largest, quotient


class Factors(NamedTuple):
    """The matrix left · right."""

    left: Float[Array, "rows r"]
    right: Float[Array, "r cols"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RankR(Contractive):
    """C(x) = Σ_{i ≤ r} s_i u_i v_iᵀ, the r largest singular values of x read as a matrix.

    Deterministic and biased. By Eckart and Young no matrix of rank r is nearer. The message is the
    two factors, r·(rows + cols) numbers of the dtype of x: u_i s_i and v_i.

    Attributes:
        r: the rank, at most min(rows, cols).
        shape: rows and columns of the matrix that the d = rows·cols entries are, row by row.
    """

    r: int = field(metadata={"static": True})
    shape: tuple[int, int] = field(metadata={"static": True})
    name: ClassVar[str] = "RankR"
    nonfinite = "spreads"

    def __post_init__(self) -> None:
        check_rank(self.name, self.r, self.shape)

    def check(self, d: int) -> None:
        """Raises `ValueError` unless d = rows·cols."""
        check_rank(self.name, self.r, self.shape, d)

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Factors:
        """The factors, by a full singular value decomposition; the key is not used."""
        self.check(x.shape[0])
        most = largest(x).astype(wide(x))
        u, s, v = jnp.linalg.svd(quotient(x, most).reshape(self.shape), full_matrices=False)
        left = u[:, : self.r] * (s[None, : self.r] * most)
        return Factors(left.astype(x.dtype), v[: self.r].astype(x.dtype))

    def expand(self, code: Factors) -> Float[Array, " d"]:
        """The entries of the product."""
        left, right = (factor.astype(wide(factor)) for factor in code)
        return (left @ right).reshape(-1).astype(code.left.dtype)

    def pack(self, code: Factors) -> Message:
        """`{"left": [rows, r], "right": [r, cols]}`."""
        return code._asdict()

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Factors:
        """The factors of the message; the key is not used."""
        self.check(d)
        return Factors(**message)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """r·(rows + cols) numbers."""
        self.check(d)
        return 8 * jnp.dtype(dtype).itemsize * self.r * sum(self.shape)

    def alpha(self, d: int) -> Constant:
        """α = r/min(rows, cols): the r largest of the squared singular values are above average."""
        self.check(d)
        return Constant(
            self.r / min(self.shape), "exact", "matrices with all singular values equal"
        )

    def compress_mean(
        self, x: Float[Array, " d"], m: Array, *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """One compression: all m messages are the same."""
        return self.expand(self.compress(x, key=key))


def check_rank(name: str, r: int, shape: tuple[int, int], d: int | None = None) -> None:
    """Raises `ValueError` unless 1 ≤ r ≤ min(shape) and, where d is given, d = rows·cols."""
    rows, cols = shape
    if min(shape) < 1 or not 1 <= r <= min(shape):
        raise ValueError(
            f"{name} cannot give a {rows} x {cols} matrix the rank r = {r}: "
            f"give r between 1 and {max(1, min(shape))}, and a shape of at least 1 x 1"
        )
    if d is not None and d != rows * cols:
        raise ValueError(
            f"{name} of a {rows} x {cols} matrix cannot take d = {d} entries: "
            f"give vectors of {rows * cols} entries, or another shape"
        )
