"""A rate that never changes."""

from dataclasses import dataclass
from typing import Any

from simulators.rates._base import Rate
from simulators.rates._checks import positive


@dataclass(frozen=True)
class Constant(Rate):
    """`rate` a second, for ever.

    Raises:
        ConfigurationError: the rate is not positive and finite.
    """

    rate: float | int

    def __post_init__(self) -> None:
        (rate,) = positive(rate=self.rate)
        object.__setattr__(self, "rate", rate)

    def at(self, t: float | int) -> float:
        """The rate, whatever `t`."""
        return self.rate

    def mean(self) -> float:
        """The rate."""
        return self.rate

    def to_config(self) -> dict[str, Any]:
        """The rate."""
        return {"rate": "constant", "per_second": self.rate}

    def _between(self, start: float | int, end: float | int) -> float:
        return self.rate * (end - start)

    def _end(self, start: float | int, amount: float | int) -> float:
        return start + amount / self.rate
