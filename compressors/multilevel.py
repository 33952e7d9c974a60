"""Multilevel Monte Carlo over nested TopK: an unbiased sample of a biased family."""

from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from compressors._base import Constant, Message, RandomSize, Unbiased
from compressors._bitmask import positions, to_words
from compressors._dtype import wide
from compressors._largest import at_or_above, cut, magnitudes, padded
from compressors._sparse import Sparse, index_bits, pack_indices, unpack_indices


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Multilevel(RandomSize, Unbiased):
    """C(x) = (C^l(x) − C^{l−1}(x))/p_l with probability p_l, where C^l is TopK with K_l kept.

    C⁰ = 0 and C^L = identity (K_0 = 0, K_L = d), so that the sum telescopes and C is unbiased.
    Level l sends the coordinates of magnitude rank K_{l−1} + 1 … K_l: indices of ⌈log2 d⌉ bits and
    values. The level is drawn from the key, and the receiver draws it again.

    With δ_l = (C^l − C^{l−1})(x), orthogonal to each other, E‖C(x) − x‖² = Σ_l ‖δ_l‖²/p_l − ‖x‖².
    Sorted squares are non-negative combinations of the vectors (1, …, 1, 0, …, 0), so the worst
    ratio is attained by one of them, and by one whose ones end at a level:
    ω = max_l (1/K_l) Σ_{i ≤ l} (K_i − K_{i−1})/p_i − 1. With equal p_l it is L − 1, for every
    vector. A NaN or infinity decides the rank of all others, so it makes all that is sent NaN.

    Zukerman, Hamoud, Levy, "Beyond communication overhead: a multilevel Monte Carlo approach for
    mitigating compression bias in distributed learning" (ICML 2025, arXiv 2507.05508), with fixed
    probabilities: their adaptive ones, p_l ∝ ‖δ_l‖, would make sizes depend on values.

    Attributes:
        K: K_1 < … < K_{L−1}, each below d; empty for the identity alone.
        p: p_1 … p_L, positive, of sum 1; the bounds between levels are rounded to multiples of
            2⁻³², in the draw and in the division alike.
    """

    K: tuple[int, ...] = field(metadata={"static": True})
    p: tuple[float, ...] = field(metadata={"static": True})
    name: ClassVar[str] = "Multilevel"
    nonfinite = "spreads"

    def __post_init__(self) -> None:
        if any(low >= high for low, high in pairwise((0, *self.K))):
            raise ValueError(
                f"{self.name} cannot nest levels K = {self.K}: give 1 <= K_1 < K_2 < …"
            )
        if len(self.p) != len(self.K) + 1:
            raise ValueError(
                f"{self.name} has {len(self.K) + 1} levels, those of K = {self.K} and the "
                f"identity, and {len(self.p)} probabilities p = {self.p}: give one for each level"
            )
        if not abs(sum(self.p) - 1) <= 1e-6 or min(self._words) < 1:
            raise ValueError(
                f"{self.name} cannot draw levels with p = {self.p}, of sum {sum(self.p)}: give "
                "probabilities of at least 2^-31 that sum to 1"
            )

    @property
    def _bounds(self) -> list[int]:
        """Of 2³² words, how many draw one of the first l levels, for l = 1 … L."""
        bounds = [round(2**32 * bound) for bound in accumulate(self.p)]
        return [*bounds[:-1], 2**32]

    @property
    def _words(self) -> list[int]:
        """Of 2³² words, how many draw each level."""
        return [high - low for low, high in pairwise((0, *self._bounds))]

    @property
    def realised(self) -> tuple[float, ...]:
        """The probabilities as they are drawn: multiples of 2⁻³²."""
        return tuple(words / 2**32 for words in self._words)

    def _sizes(self, d: int) -> list[int]:
        """Coordinates that each level sends."""
        return [high - low for low, high in pairwise((0, *self.K, d))]

    def _level(self, key: PRNGKeyArray) -> Int[Array, ""]:
        last = jnp.asarray([bound - 1 for bound in self._bounds[:-1]], jnp.uint32)
        return (jax.random.bits(key, (), jnp.uint32) > last).sum(dtype=jnp.int32)

    def check(self, d: int) -> None:
        """Raises `ValueError` unless all K_l < d."""
        if self.K and self.K[-1] >= d:
            raise ValueError(
                f"{self.name} cannot keep K = {self.K[-1]} of d = {d} coordinates at a level below "
                f"the identity: give K below {d}"
            )

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Sparse:
        """The coordinates between two levels, over p_l, in order; the rest of the code is zero."""
        d = x.shape[0]
        self.check(d)
        level = self._level(key)
        ranks = jnp.asarray([0, *self.K, d], jnp.int32)
        low, high = ranks[level], ranks[level + 1]
        u = padded(magnitudes(x))

        def topmost(K: Int[Array, ""]) -> Bool[Array, " padded"]:
            return at_or_above(u, *cut(u, jnp.maximum(K, 1))) & (K > 0)

        width = max(self._sizes(d))
        found = positions(to_words(topmost(high) & ~topmost(low)), width)
        sent = jnp.arange(width, dtype=jnp.int32) < high - low
        dtype = wide(x)
        scale = jnp.asarray([1 / p for p in self.realised], dtype)[level]
        scale = jnp.where(jnp.isfinite(x).all(), scale, jnp.nan)
        values = (x.at[found].get(mode="clip").astype(dtype) * scale).astype(x.dtype)
        return Sparse(jnp.where(sent, found, 0), jnp.where(sent, values, 0), d)

    def expand(self, code: Sparse) -> Float[Array, " d"]:
        """The dense vector."""
        return code.dense()

    def pack(self, code: Sparse) -> Message:
        """`{"indices": uint32 words, "values": […]}`."""
        return {"indices": pack_indices(code.indices, code.d), "values": code.values}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Sparse:
        """The code, of a whole or a trimmed message; the key is not used."""
        self.check(d)
        width = max(self._sizes(d))
        sent = message["values"].shape[0]
        indices = unpack_indices(jnp.asarray(message["indices"]), sent, d)
        values = jnp.asarray(message["values"])
        return Sparse(jnp.pad(indices, (0, width - sent)), jnp.pad(values, (0, width - sent)), d)

    def trim(self, message: Message, *, key: PRNGKeyArray, d: int) -> Message:
        """As many coordinates as the level sends."""
        size = self._sizes(d)[int(self._level(key))]
        words = _words_of_indices(size, d)
        return {"indices": message["indices"][:words], "values": message["values"][:size]}

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Of the largest message: its values and indices."""
        self.check(d)
        return max(self._sizes(d)) * (8 * jnp.dtype(dtype).itemsize + index_bits(d))

    def expected_bits(self, d: int, dtype: Any) -> float:
        """Σ_l p_l · (bits of the words and values of level l)."""
        self.check(d)
        value = 8 * jnp.dtype(dtype).itemsize
        bits = [size * value + 32 * _words_of_indices(size, d) for size in self._sizes(d)]
        return sum(p * b for p, b in zip(self.realised, bits, strict=True))

    def omega(self, d: int) -> Constant:
        """ω = max_l (1/K_l) Σ_{i ≤ l} (K_i − K_{i−1})/p_i − 1."""
        self.check(d)
        sums = accumulate(size / p for size, p in zip(self._sizes(d), self.realised, strict=True))
        ratio, K = max((total / K, K) for total, K in zip(sums, (*self.K, d), strict=True))
        return Constant(ratio - 1, "exact", f"{K} coordinates equal in magnitude, the others zero")

    def expand_sum(self, codes: Sparse, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of a batch of codes, by one scatter-add."""
        return codes.weighted_sum(weights)


def _words_of_indices(K: int, d: int) -> int:
    return -(-K * index_bits(d) // 32)
