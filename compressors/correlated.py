"""Stochastic quantization of n vectors at once: correlated, and independent to compare with."""

import abc
import math
from dataclasses import dataclass, field
from typing import ClassVar

import jax
from jaxtyping import Array, Int, PRNGKeyArray

from compressors._base import Constant
from compressors._joint import Joint, check_members
from compressors._quantized import Member, Span
from compressors.kernels.hadamard import padded_size


MOST_LEVELS = 1 << 16


@dataclass(frozen=True)
class _Quantization(Joint):
    """What the two families share.

    A member maps its interval [l, r] to y ∈ [0, 1], lays k levels over [0, 1] at a distance β, and
    rounds y to one of the two next levels, up with the probability f ∈ [0, 1] that makes it
    unbiased. Per coordinate that has the variance ((r − l)β)²·f(1 − f). With q an upper bound of
    E d·(r − l)²/(4‖x‖²),

        ω = q − 1 for k = 2 (exact where q is),   ω ≤ q·β²·g for k ≥ 3,

    where g ≤ 1 is the mean of 4f(1 − f) over what moves the levels, at its worst. For all inputs
    A = ω/n, B = 0: independent errors are uncorrelated, correlated ones are negatively so.

    q = d for the spans ±‖x‖ and ±max|x_j|. A rotation makes all coordinates alike: by Hoeffding,
    P(|z_j| > t) ≤ 2exp(−d·t²/(2‖x‖²)), so q = 2ln(2d) + 2 for ±max|z_j|, with d padded to a power
    of two.

    Attributes:
        levels: k, from 2 to 65536.
        span: the interval [l, r] of a member: `"norm"` is ±‖x‖, `"max"` is ±max|x_j|, each
            member's own and sent with the message; a pair (l, r) is known to all, and then a vector
            that leaves it comes out as NaN: clipped, it would be biased. A given span has an
            absolute error and so an infinite ω.
        rotated: quantize H·diag(s)·x, the signs s drawn from the coin and so the same for all
            members (Suresh et al. 2022, Algorithm 3, which clips to a range known beforehand
            instead of sending one, and is biased where it clips).
        published_constants: give the constants of Panferov et al. for k = 2 and the span ±‖x‖,
            4 times smaller than true ones: they hold for an interval of length ‖x‖, and are
            **violated** for ±‖x‖, of length 2‖x‖. To reproduce published step sizes and figures.
    """

    levels: int = field(default=2, metadata={"static": True})
    span: Span = field(default="norm", metadata={"static": True})
    rotated: bool = field(default=False, metadata={"static": True})
    published_constants: bool = field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= MOST_LEVELS:
            raise ValueError(f"levels = {self.levels}: give from 2 to {MOST_LEVELS} levels")
        if isinstance(self.span, str):
            if self.span not in ("norm", "max"):
                raise ValueError(f'span = {self.span!r} is not known: give "norm", "max" or (l, r)')
        elif not -math.inf < self.span[0] < self.span[1] < math.inf:
            raise ValueError(f"span = {self.span} is no interval: give finite l < r")
        if self.published_constants and (self.levels, self.span, self.rotated) != (
            2,
            "norm",
            False,
        ):
            raise ValueError(
                'published_constants are for levels = 2, span = "norm" and no rotation, not for '
                f"{self.levels}, {self.span!r} and rotated = {self.rotated}: leave them out"
            )

    def check(self, d: int, n: int) -> None:
        """Raises `ValueError` unless n ≥ 1."""
        check_members(self.name, n)

    def spacing(self) -> float:
        """β, the distance between levels in units of r − l."""
        return (1 + self._slack()) / (self.levels - 1)

    @abc.abstractmethod
    def _slack(self) -> float:
        """How much wider than [0, 1] the levels lie."""

    @abc.abstractmethod
    def _worst(self) -> float:
        """The factor g."""

    def omega(self, d: int, n: int) -> Constant:
        """ω of the class docstring: d − 1, exact, for two levels without a rotation."""
        self.check(d, n)
        q, tight = self._spread(d)
        if self.levels > 2:
            return Constant(q * self.spacing() ** 2 * self._worst(), "bound", "")
        return Constant(q - 1, "exact" if tight else "bound", self._attained() if tight else "")

    def ab(self, d: int, n: int) -> tuple[Constant, Constant]:
        """(ω/n, 0)."""
        omega = self.omega(d, n)
        note = f"{omega.note}, the other members' zero" if omega.note else ""
        return Constant(omega.value / n, omega.kind, note), Constant(0.0, omega.kind, note)

    def _attained(self) -> str:
        return "every vector" if self.span == "norm" else "a vector with one nonzero coordinate"

    def _spread(self, d: int) -> tuple[float, bool]:
        """q, and whether ω = q − 1 is attained for two levels."""
        if not isinstance(self.span, str):
            return math.inf, False
        p = padded_size(d) if self.rotated else d
        if self.rotated and self.span == "max":
            return min(float(p), 2 * math.log(2 * p) + 2), p == 1
        return float(p), p == d


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CorrelatedQuantization(_Quantization):
    """Members round with uniform numbers that fall in n different strata of [0, 1).

    For coordinate j, member i rounds up where U_ij < f_ij, with

        U_ij = (π_ij + V_ij)/n,   π_ij = (R_j + π_i) mod n,

    π a permutation of the members drawn afresh each round and R_j ∈ {0, …, n − 1} a shift for each
    coordinate, both from the coin, and V_ij ∈ [0, 1) from the member's own key. Each U_ij is
    uniform, and all n are spread evenly: nearly equal vectors have errors that cancel. Errors of
    two members are negatively correlated (Chebyshev's sum inequality) *because π is random*; with a
    fixed order, which R_j alone would leave, the mean can be worse than with independent rounding.

    Two levels (Suresh, Sun, Ro, Yu 2022, arXiv 2203.04925, Algorithm 1) are at the ends of the
    interval, β = 1: never worse than `IndependentQuantization`, and without error where all
    n members have the same y and n·y is an integer. k ≥ 3 levels (Algorithm 2) are
    β = (k + 1)/(k(k − 1)) apart and start at −c, with c uniform on (0, 1/k] for each coordinate,
    from the coin, so that close values often share an interval; g = 1 − ((k − 1)/(k + 1))²/3. They
    are wider apart than independent ones, which can do better.

    V_ij has 16 random bits, and one more uniform number a message dithers the 17th on: every
    coordinate is unbiased, and coordinates are correlated by at most 2^−32.

    Bits: ⌈log2 k⌉ a coordinate, packed, and 32 for the span (64 for float64). The vector form with
    the span ±‖x‖ is that of Panferov, Demidovich, Rammal, Richtárik 2024, arXiv 2401.05518.
    """

    name: ClassVar[str] = "correlated quantization"

    def member(self, *, coin: PRNGKeyArray, rank: Int[Array, ""] | int, n: int) -> Member:
        """The member of a rank."""
        check_members(self.name, n)
        return Member(coin, rank, n, self.levels, self.span, self.rotated, self._slack())

    def _slack(self) -> float:
        return 0.0 if self.levels == 2 else 1 / self.levels

    def _worst(self) -> float:
        """Here f is uniform on an interval of length (k − 1)/(k + 1), at its worst centred."""
        k = self.levels
        return 1 - ((k - 1) / (k + 1)) ** 2 / 3

    def ab_equal_inputs(self, d: int, n: int) -> tuple[Constant, Constant]:
        """(q·β²/n², 0), at most (ω/n, 0): (d/n², 0) for two levels without a rotation.

        Equal f are rounded with the variance φ(1 − φ)/n² ≤ 1/(4n²), φ the fraction of n·f. The
        published constant is d/(4n²), see `published_constants`.
        """
        a, _ = self.ab(d, n)
        q, _ = self._spread(d)
        zero = Constant(0.0, "bound", "")
        if self.published_constants:
            published = Constant(d / (4 * n**2), "bound", "published; violated, d/n² is true")
            return published, zero
        return Constant(min(a.value, q * self.spacing() ** 2 / n**2), "bound", ""), zero


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IndependentQuantization(_Quantization):
    """Members round independently, to k fixed levels β = 1/(k − 1) apart; g = 1.

    Two levels and the span ±‖x‖ have A = (d − 1)/n with equality for every tuple. Bits and random
    numbers as in `CorrelatedQuantization`; the coin is used for the signs of a rotation only.
    """

    name: ClassVar[str] = "independent quantization"

    def member(self, *, coin: PRNGKeyArray, rank: Int[Array, ""] | int, n: int) -> Member:
        """The member of a rank: all alike."""
        check_members(self.name, n)
        return Member(coin, 0, 1, self.levels, self.span, self.rotated, self._slack())

    def _slack(self) -> float:
        return 0.0

    def _worst(self) -> float:
        return 1.0

    def ab(self, d: int, n: int) -> tuple[Constant, Constant]:
        """(ω/n, 0); the published A is d/(4n), see `published_constants`."""
        a, b = super().ab(d, n)
        if self.published_constants:
            a = Constant(d / (4 * n), "bound", "published; violated, (d − 1)/n is true")
        return a, b
