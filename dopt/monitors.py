"""What a worker believes of its link: estimates of bandwidth from the transfers of the past.

Passive: nothing is sent to find out. A monitor is a frozen value; `estimate` is a pure function of
the rates of past transfers in bits per second, newest last. `Oracle` alone knows the truth, for
comparison.
"""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dopt.errors import ConfigurationError


class Monitor(abc.ABC):
    """From the rates of past transfers to the rate of the next one. A frozen dataclass.

    `memory` is how many of the newest rates it looks at.
    """

    name: ClassVar[str]

    @property
    @abc.abstractmethod
    def memory(self) -> int:
        """How many of the newest rates are looked at."""

    @abc.abstractmethod
    def estimate(self, rates: Sequence[float]) -> float:
        """Bits per second, from at least one rate, newest last; a rate may be infinite."""


def _check_window(name: str, window: int) -> None:
    if window < 1:
        raise ConfigurationError(f"{name} of the last {window} transfers: look at least at one")


@dataclass(frozen=True)
class LastTransfer(Monitor):
    """The rate of the last transfer."""

    name: ClassVar[str] = "last transfer"

    @property
    def memory(self) -> int:
        """One."""
        return 1

    def estimate(self, rates: Sequence[float]) -> float:
        """The newest."""
        return rates[-1]


@dataclass(frozen=True)
class MovingAverage(Monitor):
    """The harmonic mean of the last transfers' rates: a long transfer counts as one."""

    window: int = 5
    name: ClassVar[str] = "moving average"

    def __post_init__(self) -> None:
        _check_window(self.name, self.window)

    @property
    def memory(self) -> int:
        """The window."""
        return self.window

    def estimate(self, rates: Sequence[float]) -> float:
        """The mean of seconds per bit, inverted."""
        recent = rates[-self.window :]
        mean = sum(_inverse(rate) for rate in recent) / len(recent)
        return _inverse(mean)


@dataclass(frozen=True)
class ExponentialAverage(Monitor):
    """The exponential moving average: weight (1 − a)^j·a of the rate j transfers ago."""

    a: float = 0.3
    name: ClassVar[str] = "exponential average"

    def __post_init__(self) -> None:
        if not 0 < self.a <= 1:
            raise ConfigurationError(f"a = {self.a}: the newest transfer has a weight in (0, 1]")

    @property
    def memory(self) -> int:
        """All that weigh more than 1e-9 together."""
        return 1 if self.a == 1 else math.ceil(math.log(1e-9) / math.log1p(-self.a))

    def estimate(self, rates: Sequence[float]) -> float:
        """The average; the oldest rate stands for all before it."""
        value = rates[0]
        for rate in rates[1:]:
            mixed = value + self.a * (rate - value)
            value = mixed if math.isfinite(mixed) else rate
        return value


@dataclass(frozen=True)
class Percentile(Monitor):
    """A percentile of the last transfers' rates: a low one is careful, 50 the median."""

    q: float = 25.0
    window: int = 10
    name: ClassVar[str] = "percentile"

    def __post_init__(self) -> None:
        _check_window(self.name, self.window)
        if not 0 <= self.q <= 100:
            raise ConfigurationError(f"q = {self.q}: a percentile is between 0 and 100")

    @property
    def memory(self) -> int:
        """The window."""
        return self.window

    def estimate(self, rates: Sequence[float]) -> float:
        """The percentile; a rate that was seen, the lower of two."""
        return float(np.percentile(rates[-self.window :], self.q, method="lower"))


@dataclass(frozen=True)
class Oracle(Monitor):
    """Knows what the link will carry: policies ask the cluster itself in its place."""

    name: ClassVar[str] = "oracle"

    @property
    def memory(self) -> int:
        """None is needed."""
        return 1

    def estimate(self, rates: Sequence[float]) -> float:
        """Never asked.

        Raises:
            ConfigurationError: whoever asks has no cluster to ask instead.
        """
        raise ConfigurationError(
            "the oracle estimates nothing: it needs a policy that asks the cluster, as Kimad's does"
        )


def _inverse(value: float) -> float:
    if value == 0:
        return math.inf
    return 0.0 if math.isinf(value) else 1.0 / value
