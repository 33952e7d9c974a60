"""Recorded times of single gradients: the sibling of a rate for work that comes in pieces."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from dopt.errors import ConfigurationError
from simulators.rates._base import INFINITE
from simulators.rates._checks import numbers


@dataclass(frozen=True, init=False, repr=False)
class Durations:
    """The j-th gradient that a worker computes takes `seconds[j mod len(seconds)]`, j from 0.

    A duration belongs to the gradient and not to the time at which it is computed: a worker that
    waited goes on where it stopped. Zeros are allowed: such a gradient takes no time.

    Raises:
        DataError: no duration, or one that is NaN, infinite or negative.
    """

    seconds: tuple[float, ...]
    _passed: tuple[float, ...] = field(compare=False)
    """Seconds before each gradient of a cycle, and of the whole cycle."""

    def __init__(self, seconds: Sequence[float | int] | np.ndarray) -> None:
        cycle = tuple(numbers("seconds", seconds, "a duration").tolist())
        object.__setattr__(self, "seconds", cycle)
        object.__setattr__(self, "_passed", tuple(accumulate(cycle, initial=0.0)))

    def end(self, start: float | int, gradients: int, before: int = 0) -> float:
        """When `gradients` are there that a worker begins at time `start`.

        Args:
            start: seconds; infinity answers infinity.
            gradients: how many; 0 are there at once.
            before: how many the worker has computed before.

        Raises:
            ConfigurationError: a negative time or count, or a NaN.
        """
        if not (start >= 0 and gradients >= 0 and before >= 0):
            raise ConfigurationError(
                f"start = {start} s, gradients = {gradients}, before = {before}; "
                "all must be numbers >= 0"
            )
        cycle, passed = self.seconds, self._passed
        first = before % len(cycle)
        if gradients == 1:
            return start + cycle[first]
        if start == INFINITE:
            return INFINITE
        whole, rest = divmod(gradients, len(cycle))
        last = first + rest
        seconds = passed[min(last, len(cycle))] - passed[first] + passed[max(last - len(cycle), 0)]
        return start + (whole * passed[-1] + seconds)

    def mean(self) -> float:
        """Average seconds a gradient (of a `Rate`, `mean` is gradients a second)."""
        return self._passed[-1] / len(self.seconds)

    def to_config(self) -> dict[str, Any]:
        """The duration where there is one, else how many there are and their SHA-256."""
        if len(self.seconds) == 1:
            return {"durations": 1, "seconds": self.seconds[0]}
        digest = hashlib.sha256(np.array(self.seconds, "<f8").tobytes()).hexdigest()
        return {"durations": len(self.seconds), "sha256": digest}

    def __repr__(self) -> str:
        """The duration where there is one, else how many and their average."""
        if len(self.seconds) == 1:
            return f"Durations({self.seconds[0]:.4g} s)"
        return f"Durations({len(self.seconds)} gradients, {self.mean():.4g} s on average)"
