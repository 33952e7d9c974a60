"""PermK: the members share out the coordinates."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from compressors._base import Compressor, Constant, Message
from compressors._bijection import scattered
from compressors._dtype import wide
from compressors._joint import Joint, check_members
from compressors._sparse import Sparse


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PermK(Joint):
    """Members keep disjoint parts of the coordinates, by permutations drawn from the coin.

    For d ≥ n the permuted coordinates are cut into n blocks of ⌈d/n⌉ or ⌊d/n⌋, and a second
    permutation gives each member a block. For d < n the permuted members are cut into d groups of
    ⌈n/d⌉ or ⌊n/d⌋, and a second permutation gives each group one coordinate. With c_j the number of
    members that keep coordinate j (all 1 where d ≥ n) and J_i the coordinates that member i keeps,

        C_i(x) = Σ_{j ∈ J_i} (n/c_j) x_j e_j.

    Every tuple of vectors attains the same constants: with ρ the mean of 1/c_j over coordinates
    (1 for d ≥ n; ((n mod d)/⌈n/d⌉ + (d − n mod d)/⌊n/d⌋)/d for d < n),

        ω = nρ − 1   and   A = B = (nρ − 1)/(n − 1)   (0 for n = 1).

    Because A = B, equal vectors are averaged without error. Proof: P(j ∈ J_i | c_j) = c_j/n, and
    two different members both keep j with probability c_j(c_j − 1)/(n(n − 1)); expand the square.
    Where n divides d, or d divides n, these are the published operator and its constants,
    A = B = 1 and A = B = (d − 1)/(n − 1) (Szlendak, Tyurin, Richtárik 2021, arXiv 2110.03300).
    Other sizes are not published; the factor n/c_j, in place of d, is what keeps A = B there.

    The constants need the members' permutation to be uniform, and of the coordinates' one only that
    each coordinate's place is. For d > 1024 the latter is a keyed bijection that is evaluated where
    a member needs it: a shuffle of d coordinates would be all the cost.

    A message is ⌈d/n⌉ values, indices come from the coin. A member of a smaller block fills the
    last place with a zero, for a coordinate that another member keeps.
    """

    name: ClassVar[str] = "PermK"

    def check(self, d: int, n: int) -> None:
        """Raises `ValueError` unless n ≥ 1."""
        check_members(self.name, n)

    def member(self, *, coin: PRNGKeyArray, rank: Int[Array, ""] | int, n: int) -> Compressor:
        """The member; it is deterministic, all randomness is the coin's."""
        check_members(self.name, n)
        return PermKMember(coin, rank, n)

    def omega(self, d: int, n: int) -> Constant:
        """ω = nρ − 1: n − 1 for d ≥ n, and d − 1 where d divides n."""
        self.check(d, n)
        if d >= n:
            return Constant(n - 1.0, "exact", "every vector")
        small, larger = divmod(n, d)
        rho = (larger / (small + 1) + (d - larger) / small) / d
        return Constant(n * rho - 1, "exact", "every vector")

    def ab(self, d: int, n: int) -> tuple[Constant, Constant]:
        """A = B = ω/(n − 1), with equality for every tuple."""
        value = self.omega(d, n).value / max(n - 1, 1)
        constant = Constant(value, "exact", "every tuple")
        return constant, constant

    def expand_sum(
        self,
        codes: Sparse,
        weights: Float[Array, " P"],
        *,
        coin: PRNGKeyArray,
        ranks: Int[Array, " P"],
        n: int,
    ) -> Float[Array, " d"]:
        """The weighted sum of the members' vectors, by one scatter-add."""
        return codes.weighted_sum(weights)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class PermKMember(Compressor):
    """C_rank of `PermK`. Its code is `Sparse` with ⌈d/n⌉ coordinates."""

    coin: PRNGKeyArray
    rank: Int[Array, ""] | int
    n: int = field(metadata={"static": True})
    name: ClassVar[str] = "PermK"

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Sparse:
        """The member's coordinates, times n/c_j; the key is not used."""
        d = x.shape[0]
        kept, count, holders = self._share(d)
        scaled = x[kept].astype(wide(x)) * (self.n / holders.astype(wide(x)))
        mine = jnp.arange(kept.size, dtype=jnp.int32) < count
        return Sparse(kept, jnp.where(mine, scaled, 0).astype(x.dtype), d)

    def expand(self, code: Sparse) -> Float[Array, " d"]:
        """The dense vector."""
        return code.dense()

    def pack(self, code: Sparse) -> Message:
        """`{"values": [⌈d/n⌉]}`."""
        return {"values": code.values}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Sparse:
        """The code, with indices from the coin."""
        return Sparse(self._share(d)[0], message["values"], d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """⌈d/n⌉ values: those of the largest block."""
        return 8 * jnp.dtype(dtype).itemsize * -(-d // self.n)

    def expand_sum(self, codes: Sparse, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of a batch of codes, by one scatter-add."""
        return codes.weighted_sum(weights)

    def _share(self, d: int) -> tuple[Int[Array, " K"], Int[Array, ""], Int[Array, ""]]:
        """⌈d/n⌉ distinct coordinates, how many of them are kept, and the c_j of those."""
        n = self.n
        order, shuffle = (jax.random.fold_in(self.coin, i) for i in range(2))
        place = jax.random.permutation(shuffle, jnp.arange(n, dtype=jnp.int32))[self.rank]
        small, larger = divmod(max(d, n), min(d, n))
        if d >= n:
            start = place * small + jnp.minimum(place, larger)
            places = (start + jnp.arange(-(-d // n), dtype=jnp.int32)) % d
            return (
                scattered(order, places, d),
                _one_more(small, place < larger),
                jnp.ones_like(place),
            )
        cut = larger * (small + 1)
        group = jnp.where(place < cut, place // (small + 1), larger + (place - cut) // small)
        kept = scattered(order, group[None], d)
        return kept, jnp.ones_like(place), _one_more(small, group < larger)


def _one_more(size: int, larger: Bool[Array, ""]) -> Int[Array, ""]:
    return jnp.where(larger, size + 1, size).astype(jnp.int32)
