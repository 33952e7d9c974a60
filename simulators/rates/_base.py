"""What every rate answers: how much passes between two times, and when so much has passed."""

from abc import ABC, abstractmethod
from typing import Any, final

from dopt.errors import ConfigurationError


INFINITE = float("inf")


class Rate(ABC):
    """Something per second as a function of virtual time t ≥ 0, in seconds, never negative.

    What passes is measured in the rate's own unit, such as bits where the rate is bits a second.
    Integrals are closed forms or sums of those, taken from where they start and not from 0: an
    answer at t = 10⁶ s is as good as the double that holds t.
    """

    @abstractmethod
    def at(self, t: float | int) -> float:
        """The rate at time `t`; where it jumps, the value from there on."""

    @abstractmethod
    def mean(self) -> float:
        """The long-run average of the rate, 0 where it ends for good."""

    @abstractmethod
    def to_config(self) -> dict[str, Any]:
        """A JSON-able description that differs where the rate differs."""

    @abstractmethod
    def _between(self, start: float | int, end: float | int) -> float:
        """The integral over [start, end] where 0 ≤ start < end < ∞."""

    @abstractmethod
    def _end(self, start: float | int, amount: float | int) -> float:
        """The earliest t with `_between(start, t) ≥ amount`, where 0 ≤ start < ∞, 0 < amount < ∞.

        Infinity where so much never passes.
        """

    @final
    def between(self, start: float | int, end: float | int) -> float:
        """What passes from time `start` to time `end`.

        Raises:
            ConfigurationError: 0 ≤ start ≤ end < ∞ does not hold.
        """
        if not 0 <= start <= end < INFINITE:
            raise ConfigurationError(
                f"[{start}, {end}] is not a span of time; give 0 <= start <= end, both finite"
            )
        return self._between(start, end) if start < end else 0.0

    @final
    def amount(self, t: float | int) -> float:
        """What passes from time 0 to time `t`."""
        return self.between(0.0, t)

    @final
    def when(self, amount: float | int) -> float:
        """The earliest time at which `amount` has passed since time 0, or infinity."""
        return self.end(0.0, amount)

    @final
    def end(self, start: float | int, amount: float | int, before: int = 0) -> float:
        """The earliest time at which `amount` has passed since time `start`: at least `start`.

        Args:
            start: seconds; infinity answers infinity.
            amount: in the rate's unit; 0 has passed at once, even in an outage.
            before: ignored; what the same call of `Durations` needs to know.

        Raises:
            ConfigurationError: a negative time or amount, or a NaN.
        """
        if not (start >= 0 and amount >= 0):
            raise ConfigurationError(
                f"start = {start} s and amount = {amount}; both must be numbers >= 0"
            )
        if amount == 0:
            return start
        if start == INFINITE or amount == INFINITE:
            return INFINITE
        return self._end(start, amount)
