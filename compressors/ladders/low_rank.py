"""Low rank: the best approximations of a matrix by several ranks."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64, PRNGKeyArray

from compressors._base import Compressor
from compressors._dtype import wide
from compressors.identity import Identity
from compressors.ladders._base import ErrorsAre, Ladder, dense_bits, smaller
from compressors.rank import RankR


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRankLadder(Ladder):
    """`RankR` for each rank, and the dense matrix on the top rung.

    A leaf of more than two axes is the matrix of its last axis and all others. One of fewer is sent
    dense on all rungs, and so is a matrix on those whose factors would be no smaller.

    Attributes:
        ranks: increasing, from 1.
        shape: of the leaf.
    """

    ranks: tuple[int, ...] = field(metadata={"static": True})
    shape: tuple[int, ...] = field(metadata={"static": True})
    name: ClassVar[str] = "LowRankLadder"
    errors_are: ClassVar[ErrorsAre] = "exact"

    def __post_init__(self) -> None:
        if not self.ranks or list(self.ranks) != sorted(set(self.ranks)) or self.ranks[0] < 1:
            raise ValueError(
                f"{self.name} has the ranks {self.ranks}: give at least one, in increasing order "
                "from 1"
            )

    @property
    def matrix(self) -> tuple[int, int] | None:
        """Rows and columns; `None` where there is no matrix."""
        if len(self.shape) < 2:
            return None
        return math.prod(self.shape[:-1]), self.shape[-1]

    @property
    def rungs(self) -> int:
        """One more than ranks."""
        return len(self.ranks) + 1

    def check(self, d: int) -> None:
        """Raises `ValueError` unless the leaf has d entries."""
        if d != math.prod(self.shape):
            raise ValueError(
                f"{self.name} of a leaf of shape {self.shape} cannot take d = {d}: give the shape "
                "of the layer"
            )

    def member(self, rung: int, d: int, dtype: Any = jnp.float32) -> Compressor:
        """The rank, or the identity where two factors are no smaller."""
        self.check(d)
        if self.matrix is None or rung == len(self.ranks):
            return Identity()
        r = min(self.ranks[rung], *self.matrix)
        return smaller(RankR(r, self.matrix), dense_bits(r * sum(self.matrix), dtype), d, dtype)

    def bits(self, d: int, dtype: Any) -> Int64[np.ndarray, " R"]:
        """Two factors, or all entries."""
        numbers = [
            member.r * sum(member.shape) if isinstance(member, RankR) else d
            for member in (self.member(rung, d, dtype) for rung in range(self.rungs))
        ]
        return np.asarray([dense_bits(count, dtype) for count in numbers], np.int64)

    def errors(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Float[Array, " R"]:
        """The squared singular values that a rank leaves out; the key is not used."""
        d = x.shape[0]
        members = [self.member(rung, d, x.dtype) for rung in range(self.rungs)]
        ranks = [member.r if isinstance(member, RankR) else d for member in members]
        if self.matrix is None or min(ranks) == d:
            return jnp.zeros(self.rungs, wide(x))
        s = jnp.linalg.svd(x.astype(wide(x)).reshape(self.matrix), compute_uv=False)
        return jnp.stack([jnp.sum(jnp.square(s[r:])) for r in ranks])
