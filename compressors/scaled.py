"""Scaling: an unbiased compressor made contractive."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Code, Compressor, Constant, Contractive, Message, Nonfinite
from compressors._dtype import wide
from compressors._wrapped import check_size, nonfinite_of, unbiased


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scaled(Contractive):
    """λ·C(x) for an unbiased C: contractive, with the messages of C.

    E‖λCx − x‖² ≤ (λ²ω + (1 − λ)²)‖x‖², so α = 2λ − λ²(1 + ω). It is largest at λ = 1/(1 + ω), where
    α = 1/(1 + ω), and positive for 0 < λ < 2/(1 + ω). The receiver scales.

    Attributes:
        compressor: C, unbiased.
        factor: λ; `None` for 1/(1 + ω(d)).
    """

    compressor: Compressor = field(metadata={"static": True})
    factor: float | None = field(default=None, metadata={"static": True})
    name: ClassVar[str] = "Scaled"

    def __post_init__(self) -> None:
        unbiased(self.name, self.compressor)
        check_size(self.name, self.compressor)

    @property
    def nonfinite(self) -> Nonfinite:
        """That of C."""
        return nonfinite_of([self.compressor])

    def check(self, d: int) -> None:
        """Raises `ValueError` where C does not fit d, or λ leaves no α."""
        self.compressor.check(d)
        bound = 2 / (1 + self._omega(d).value)
        if not 0 < self._factor(d) < bound:
            raise ValueError(
                f"{self.factor} times {self.compressor} does not contract at d = {d}: give a "
                f"factor above 0 and below 2/(1 + omega) = {bound:g}, or none for the best"
            )

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Code:
        """The code of C."""
        self.check(x.shape[0])
        return self.compressor.compress(x, key=key)

    def expand(self, code: Code) -> Float[Array, " d"]:
        """λ times the vector of C."""
        return self._times(self.compressor.expand(code))

    def pack(self, code: Code) -> Message:
        """The message of C."""
        return self.compressor.pack(code)

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Code:
        """The code of C."""
        self.check(d)
        return self.compressor.unpack(message, key=key, d=d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Those of C."""
        self.check(d)
        return self.compressor.payload_bits(d, dtype)

    def alpha(self, d: int) -> Constant:
        """α = 2λ − λ²(1 + ω), as exact as ω is."""
        self.check(d)
        factor, omega = self._factor(d), self._omega(d)
        return omega._replace(value=2 * factor - factor**2 * (1 + omega.value))

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """λ times that of C."""
        self.check(x.shape[0])
        return self._times(self.compressor.compress_mean(x, m, key=key, most=most))

    def expand_sum(self, codes: Code, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """λ times that of C."""
        return self._times(self.compressor.expand_sum(codes, weights))

    def _times(self, y: Float[Array, " d"]) -> Float[Array, " d"]:
        return (y.astype(wide(y)) * self._factor(y.shape[0])).astype(y.dtype)

    def _factor(self, d: int) -> float:
        return 1 / (1 + self._omega(d).value) if self.factor is None else self.factor

    def _omega(self, d: int) -> Constant:
        return unbiased(self.name, self.compressor).omega(d)
