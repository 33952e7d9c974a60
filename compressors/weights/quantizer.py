"""What a weight quantizer is: a pure function of (W, H, how), where how is a frozen dataclass."""

import abc
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from compressors.weights.packed import PackedWeight


_ROWS = 64
"""Rows of a matrix that are held in float64 at once."""


@dataclass(frozen=True)
class Report:
    """What a quantizer had to do.

    Attributes:
        damping: what was added to the diagonal of H, as a share of its mean; None without H.
        tries: factorisations of H, one if the first damping was enough.
        dead: inputs that were never seen, H_ii = 0, whose weights became 0.
    """

    damping: float | None = None
    tries: int = 0
    dead: int = 0


class Quantized(NamedTuple):
    """A quantized matrix, and what it took."""

    weight: PackedWeight
    report: Report


class WeightQuantizer(abc.ABC):
    """A quantizer of weight matrices: a frozen dataclass of its settings."""

    name: ClassVar[str]

    @property
    def needs_hessian(self) -> bool:
        """Whether `quantize` takes H into account, and refuses to go without it."""
        return False

    @abc.abstractmethod
    def quantize(
        self,
        W: Float[Array | np.ndarray, "out in"],
        H: Float[np.ndarray, "in in"] | None = None,
    ) -> Quantized:
        """W in few bits.

        Args:
            W: the matrix, any float dtype; computed in float32.
            H: XᵀX of the inputs, float64, in any scale; only quantizers that say so use it.

        Raises:
            ValueError: settings that do not fit the shape, NaN or infinity in W or in H, or no H
                where one is needed.
        """

    @abc.abstractmethod
    def empty(self, out: int, inputs: int) -> PackedWeight:
        """What `quantize` gives for a matrix [out, in], with shapes and dtypes for arrays.

        Raises:
            ValueError: settings that do not fit the shape.
        """

    def nbits(self, out: int, inputs: int) -> int:
        """Bits of a matrix [out, in], scales, zeros and filling of words included."""
        return self.empty(out, inputs).nbits


def relative_error(
    W: Float[Array | np.ndarray, "out in"], W_hat: Float[Array | np.ndarray, "out in"]
) -> float:
    """t² = ‖Ŵ − W‖²/‖W‖² in float64, some rows at a time; 0 where both are zero."""
    W, W_hat = np.asarray(W), np.asarray(W_hat)
    error = norm = 0.0
    for at in range(0, len(W), _ROWS):
        w = W[at : at + _ROWS].astype(np.float64)
        error += float(np.sum((W_hat[at : at + _ROWS] - w) ** 2))
        norm += float(np.sum(w**2))
    return error / norm if error else 0.0


def proxy_error(
    W: Float[Array | np.ndarray, "out in"],
    W_hat: Float[Array | np.ndarray, "out in"],
    H: Float[np.ndarray, "in in"],
) -> float:
    """tr(E·H·Eᵀ)/tr(W·H·Wᵀ) with E = Ŵ − W, in float64: the relative error of the outputs."""
    W, E = np.asarray(W, np.float64), np.asarray(W_hat, np.float64) - np.asarray(W, np.float64)
    error = float(np.sum((E @ H) * E))
    return error / float(np.sum((W @ H) * W)) if error else 0.0


def checked(W: Float[Array | np.ndarray, "out in"]) -> Float[Array, "out in"]:
    """W in float32.

    Raises:
        ValueError: NaN or infinity, with how many there are.
    """
    values = jnp.asarray(W, jnp.float32)
    strange = int(jax.device_get(jnp.sum(~jnp.isfinite(values))))
    if strange:
        raise ValueError(
            f"{strange} of {values.size} weights are NaN or infinite: mend the model before it is "
            "quantized"
        )
    return values
