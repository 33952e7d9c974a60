"""The bandwidth of Kimad's experiments: a squared sine above a floor.

Xin, Ilin, Zhang, Canini, Richtárik, "Kimad: Adaptive Gradient Compression with Bandwidth
Awareness", 2023, arXiv:2312.08053: B(t) = η·sin(θt)² + δ.
"""

import math
from dataclasses import dataclass
from typing import Any

from dopt.errors import ConfigurationError
from simulators.rates._base import INFINITE, Rate
from simulators.rates._checks import not_negative, positive


_MOST_STEPS = 100
"""Newton takes five or so; a root where the rate touches zero takes about sixty."""

_LAST_BIT = 2.0**-52


@dataclass(frozen=True)
class Sine(Rate):
    """eta·sin(theta·t + phase)² + delta a second.

    | field | the paper's | meaning |
    |---|---|---|
    | `eta` | η | how far the rate rises above its floor, in the rate's unit a second |
    | `theta` | θ | radians a second; the rate has the period π/θ |
    | `delta` | δ | the floor, in the rate's unit a second |
    | `phase` | 0 | radians at time 0 |

    Raises:
        ConfigurationError: eta < 0, delta < 0, both zero, theta ≤ 0, a number not finite.
    """

    eta: float | int
    theta: float | int
    delta: float | int
    phase: float | int = 0.0

    def __post_init__(self) -> None:
        eta, delta = not_negative(eta=self.eta, delta=self.delta)
        (theta,) = positive(theta=self.theta)
        if not math.isfinite(self.phase):
            raise ConfigurationError(f"phase = {self.phase}; give a finite number of radians")
        if eta == delta == 0:
            raise ConfigurationError("eta = delta = 0: nothing would ever pass; make one positive")
        values = {"eta": eta, "theta": theta, "delta": delta, "phase": float(self.phase)}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def period(self) -> float:
        """Seconds after which the rate repeats."""
        return math.pi / self.theta

    def at(self, t: float | int) -> float:
        """The rate at time `t`."""
        return self.eta * math.sin(self.theta * t + self.phase) ** 2 + self.delta

    def mean(self) -> float:
        """η/2 + δ, the average of a period."""
        return self.eta / 2 + self.delta

    def to_config(self) -> dict[str, Any]:
        """The four numbers."""
        return {
            "rate": "sine",
            "eta": self.eta,
            "theta": self.theta,
            "delta": self.delta,
            "phase": self.phase,
        }

    def _between(self, start: float | int, end: float | int) -> float:
        seconds = end - start
        part = math.fmod(seconds, self.period)
        return self.mean() * (seconds - part) + self._within_period(start, part)

    def _within_period(self, start: float | int, seconds: float) -> float:
        """The integral of 0 ≤ seconds ≤ period from `start`, a sum of positive terms only.

        ∫ sin² over an interval of length x with midpoint m is (x − sin(y)/θ)/2 + sin(y)/θ·sin²(m)
        with y = θx, so nothing cancels, even where the rate touches zero.
        """
        theta = self.theta
        y = theta * seconds
        wave = math.sin(theta * (start + seconds / 2) + self.phase) ** 2
        risen = _excess_over_sine(y) / 2 + max(math.sin(y), 0.0) * wave
        return self.delta * seconds + self.eta * risen / theta

    def _end(self, start: float | int, amount: float | int) -> float:
        whole_period = self.mean() * self.period
        rest = math.fmod(amount, whole_period)
        periods = round((amount - rest) / whole_period)
        return start + (periods * self.period + self._invert(start, rest))

    def _invert(self, start: float | int, amount: float) -> float:
        """Seconds from `start` in which `amount` passes, which is at most what a period brings.

        Newton's method in a bracket, which is halved instead where Newton would leave it or does
        not halve its step.
        """
        low, high = 0.0, self.period
        slope = self.at(start)
        x = amount / slope if amount < high * slope else high / 2
        moved = high
        for _ in range(_MOST_STEPS):
            missing = amount - self._within_period(start, x)
            if missing > 0:
                low = x
            else:
                high = x
            slope = self.at(start + x)
            move = missing / slope if slope > 0 else INFINITE
            if not low <= x + move <= high or abs(move) > moved / 2:
                move = (low + high) / 2 - x
            moved = abs(move)
            x += move
            if moved <= _LAST_BIT * (start + x):
                break
        return x


def _excess_over_sine(y: float) -> float:
    """What y − sin(y) is for 0 ≤ y ≤ π, to the last bits: a series where the two cancel."""
    if y > 1:
        return y - math.sin(y)
    square = y * y
    term = total = y * square / 6
    for k in range(4, 24, 2):
        term *= -square / (k * (k + 1))
        total += term
    return total
