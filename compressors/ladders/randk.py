"""RandK at several ratios, as it is contractive."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64, PRNGKeyArray

from compressors._base import Compressor
from compressors._dtype import wide
from compressors.identity import Identity
from compressors.ladders._base import ErrorsAre, Ladder, check_ratios, dense_bits, kept
from compressors.randk import ScaledRandK


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandKLadder(Ladder):
    """K = max(1, round(ratio·d)) random coordinates, unscaled, for each ratio.

    The receiver draws the indices from the sender's key, so that K values travel. The errors are
    the means over keys, (1 − K/d)‖x‖².

    Attributes:
        ratios: increasing, above 0 and at most 1.
    """

    ratios: tuple[float, ...] = field(metadata={"static": True})
    name: ClassVar[str] = "RandKLadder"
    errors_are: ClassVar[ErrorsAre] = "expected"

    def __post_init__(self) -> None:
        check_ratios(self.name, self.ratios)

    @property
    def rungs(self) -> int:
        """The number of ratios."""
        return len(self.ratios)

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def member(self, rung: int, d: int, dtype: Any = jnp.float32) -> Compressor:
        """RandK without its factor, or the identity where it keeps all."""
        K = kept(self.ratios[rung], d)
        return ScaledRandK(K) if d > K else Identity()

    def bits(self, d: int, dtype: Any) -> Int64[np.ndarray, " R"]:
        """K values."""
        return np.asarray([dense_bits(kept(ratio, d), dtype) for ratio in self.ratios], np.int64)

    def errors(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Float[Array, " R"]:
        """(1 − K/d)‖x‖²; the key is not used."""
        d = x.shape[0]
        energy = jnp.sum(jnp.square(x.astype(wide(x))))
        lost = [1 - kept(ratio, d) / d for ratio in self.ratios]
        return energy * jnp.asarray(lost, energy.dtype)
