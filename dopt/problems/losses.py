"""Losses of a margin t = b⟨a, x⟩, and regularizers: small frozen values with their constants.

| value | φ(t) | φ'' lies in | |φ'| at most |
|---|---|---|---|
| `LogLoss` | log(1 + e^(−t)) | [0, ¼] | 1 |
| `SquaredSigmoid` | (1 − σ(t))² | [−0.12021, 0.15406] | 8/27 |

For the second, with s = σ(t): φ' = −2s(1−s)², largest in size at s = 1/3, and φ'' = 2s(1−s)²(3s−1),
whose derivative in s is 2(1−s)(−12s² + 9s − 1); its extremes are at s = (9 ± √33)/24.

Source: the nonconvex loss of the experiments of MARINA (Gorbunov, Burlachenko, Li, Richtárik, 2021,
arXiv 2102.07845).
"""

import abc
from dataclasses import dataclass
from math import isfinite, sqrt

import jax
from jaxtyping import Array, Float

from dopt.errors import ConfigurationError


class MarginLoss(abc.ABC):
    """A loss φ ≥ 0 of the margin of a sample: large where it is on the wrong side."""

    @property
    @abc.abstractmethod
    def steepest(self) -> float:
        """The supremum of |φ'|."""

    @property
    @abc.abstractmethod
    def curvature(self) -> tuple[float, float]:
        """The infimum and the supremum of φ''."""

    @abc.abstractmethod
    def value(self, t: Float[Array, "*S"]) -> Float[Array, "*S"]:
        """φ(t)."""

    @abc.abstractmethod
    def slope(self, t: Float[Array, "*S"]) -> Float[Array, "*S"]:
        """φ'(t)."""


@dataclass(frozen=True)
class LogLoss(MarginLoss):
    """log(1 + e^(−t)): convex, the loss of logistic regression."""

    @property
    def steepest(self) -> float:
        """1, as t → −∞."""
        return 1.0

    @property
    def curvature(self) -> tuple[float, float]:
        """φ'' = σ(1 − σ): ¼ at t = 0."""
        return 0.0, 0.25

    def value(self, t: Float[Array, "*S"]) -> Float[Array, "*S"]:
        """φ(t)."""
        return jax.nn.softplus(-t)

    def slope(self, t: Float[Array, "*S"]) -> Float[Array, "*S"]:
        """φ'(t)."""
        return -jax.nn.sigmoid(-t)


@dataclass(frozen=True)
class SquaredSigmoid(MarginLoss):
    """(1 − σ(t))²: nonconvex, and bounded by 1."""

    @property
    def steepest(self) -> float:
        """8/27, at σ(t) = 1/3."""
        return 8 / 27

    @property
    def curvature(self) -> tuple[float, float]:
        """At σ(t) = (9 − √33)/24 and (9 + √33)/24."""
        low, high = ((9 + sign * sqrt(33)) / 24 for sign in (-1, 1))
        return _bend(low), _bend(high)

    def value(self, t: Float[Array, "*S"]) -> Float[Array, "*S"]:
        """φ(t)."""
        return jax.nn.sigmoid(-t) ** 2

    def slope(self, t: Float[Array, "*S"]) -> Float[Array, "*S"]:
        """φ'(t)."""
        miss = jax.nn.sigmoid(-t)
        return -2 * (1 - miss) * miss**2


def _bend(s: float) -> float:
    return 2 * s * (1 - s) ** 2 * (3 * s - 1)


@dataclass(frozen=True)
class Regularizer:
    """r(x) = (l2/2)‖x‖² + nonconvex·Σ x_k²/(1 + x_k²).

    The second term has r'' = 2(1 − 3x²)/(1 + x²)³ on each coordinate: 2 at 0, −½ at ±1.
    """

    l2: float = 0.0
    nonconvex: float = 0.0

    def __post_init__(self) -> None:
        for letter, factor in (("l2", self.l2), ("nonconvex", self.nonconvex)):
            if not (factor >= 0 and isfinite(factor)):
                raise ConfigurationError(
                    f"{letter} = {factor}; a regularizer's factor is finite and at least 0"
                )

    @property
    def curvature(self) -> tuple[float, float]:
        """Bounds of the eigenvalues of the Hessian of r."""
        return self.l2 - self.nonconvex / 2, self.l2 + 2 * self.nonconvex

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """r(x)."""
        squares = x * x
        bounded = squares / (1 + squares)
        return self.l2 / 2 * squares.sum() + self.nonconvex * bounded.sum()

    def grad(self, x: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
        """∇r(x), coordinate by coordinate."""
        if self.nonconvex == 0:
            return self.l2 * x
        return (self.l2 + 2 * self.nonconvex / (1 + x * x) ** 2) * x
