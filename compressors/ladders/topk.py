"""TopK at several ratios: one sort gives the errors of all of them."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64, Key, PRNGKeyArray

from compressors._base import Compressor
from compressors._bitmask import WORD
from compressors._dtype import wide
from compressors._largest import at_or_above, cut, magnitudes, padded
from compressors._sparse import index_bits
from compressors.kernels.pack import words_of
from compressors.ladders._base import ErrorsAre, Ladder, check_ratios, dense_bits, kept, smaller
from compressors.topk import TopK


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TopKLadder(Ladder):
    """TopK with K = max(1, round(ratio·d)) coordinates for each ratio.

    Where values and indices would be no smaller than the dense vector, that is sent: all of a top
    ratio 1, with no index. Small layers have rungs that coincide.

    Attributes:
        ratios: increasing, above 0 and at most 1.
    """

    ratios: tuple[float, ...] = field(metadata={"static": True})
    name: ClassVar[str] = "TopKLadder"
    errors_are: ClassVar[ErrorsAre] = "exact"
    pads: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ratios(self.name, self.ratios)

    @property
    def rungs(self) -> int:
        """The number of ratios."""
        return len(self.ratios)

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def member(self, rung: int, d: int, dtype: Any = jnp.float32) -> Compressor:
        """TopK, or the identity where that sends no more."""
        K = kept(self.ratios[rung], d)
        return smaller(TopK(K), _bits(K, d, dtype), d, dtype)

    def bits(self, d: int, dtype: Any) -> Int64[np.ndarray, " R"]:
        """Values and indices, or all values."""
        bits = [_bits(kept(ratio, d), d, dtype) for ratio in self.ratios]
        return np.minimum(np.asarray(bits, np.int64), dense_bits(d, dtype))

    def errors(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Float[Array, " R"]:
        """The energy of what is not kept, summed from the smallest up; the key is not used."""
        return self.errors_of_rows(x[None], x.shape, keys=key[None])[0]

    def received(
        self, x: Float[Array, " d"], rung: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Float[Array, " d"]:
        """The K largest coordinates in their places; the key is not used."""
        return self.received_of_rows(x[None], x.shape, rung[None], keys=key[None])[0]

    def errors_of_rows(
        self, rows: Float[Array, "n width"], sizes: tuple[int, ...], *, keys: Key[Array, " n"]
    ) -> Float[Array, "n R"]:
        """`errors` of vectors with zeros behind them; the keys are not used."""
        left = rows.shape[1] - jnp.asarray(self._kept_of(sizes, rows.dtype), jnp.int32)
        return jax.vmap(_smallest)(rows, left)

    def received_of_rows(
        self,
        rows: Float[Array, "n width"],
        sizes: tuple[int, ...],
        rungs: Int[Array, " n"],
        *,
        keys: Key[Array, " n"],
    ) -> Float[Array, "n width"]:
        """`received` of vectors with zeros behind them; the keys are not used."""
        kept = jnp.asarray(self._kept_of(sizes, rows.dtype), jnp.int32)
        K = jnp.take_along_axis(kept, rungs[:, None], axis=1)[:, 0]
        return jax.vmap(_largest)(rows, K, jnp.asarray(sizes, jnp.int32))

    def _kept_of(self, sizes: tuple[int, ...], dtype: Any) -> Int64[np.ndarray, "n R"]:
        return np.stack([self._kept(size, dtype) for size in sizes])

    def _kept(self, d: int, dtype: Any) -> Int64[np.ndarray, " R"]:
        """The number of coordinates that arrive on every rung."""
        members = [self.member(rung, d, dtype) for rung in range(self.rungs)]
        return np.asarray([m.K if isinstance(m, TopK) else d for m in members], np.int64)


def _bits(K: int, d: int, dtype: Any) -> int:
    """Bits of TopK's packed arrays: K values, and words of K indices."""
    return dense_bits(K, dtype) + WORD * words_of(K, index_bits(d))


def _smallest(x: Float[Array, " d"], counts: Int[Array, " R"]) -> Float[Array, " R"]:
    """The energy of the `counts` smallest coordinates, by one sort.

    Sorted squares are summed in blocks, the blocks from the smallest up, and of the block in which
    a count ends the part before it: of sums of numbers that are not negative none is subtracted.
    """
    rising = jax.lax.bitcast_convert_type(jnp.sort(magnitudes(x)), x.dtype).astype(wide(x))
    block = 1 << x.shape[0].bit_length() // 2
    squares = jnp.pad(jnp.square(rising), (0, block - x.shape[0] % block)).reshape(-1, block)
    before = jnp.pad(jax.lax.associative_scan(jnp.add, squares.sum(axis=1)), (1, 0))
    whole, part = counts // block, counts % block
    column = jnp.arange(block, dtype=jnp.int32)
    started = jnp.where(column[None, :] < part[:, None], squares[whole], 0)
    return before[whole] + started.sum(axis=1)


def _largest(x: Float[Array, " d"], K: Int[Array, ""], size: Int[Array, ""]) -> Float[Array, " d"]:
    """The K largest of the first `size` coordinates in their places, zeros elsewhere."""
    u = padded(magnitudes(x))
    # Scattered values are added to zeros, whereby −0 becomes 0; a dense message keeps it.
    sent = at_or_above(u, *cut(u, K))[: x.shape[0]] & (x != 0)
    return jnp.where(size == K, x, jnp.where(sent, x, 0))
