"""A rate that wanders between two bounds."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from dopt.errors import ConfigurationError
from simulators.rates._base import Rate
from simulators.rates._cells import BLOCK, Cells, normals
from simulators.rates._checks import positive, seed_of
from simulators.rates.constant import Constant


_STREAM = 1


@dataclass(frozen=True)
class RandomWalk(Rate):
    """The logarithm of the rate is a Gaussian random walk, reflected at two bounds.

    Every `every` seconds it takes a normal step. A free walk is folded into [log low, log high],
    which for symmetric steps has the law of a walk that is reflected at each step. It starts
    uniformly between the bounds, where its law stays: the rate is stationary.

    | field | meaning |
    |---|---|
    | `low`, `high` | the bounds of the rate, in its unit a second |
    | `step` | standard deviation of a step of the logarithm |
    | `every` | seconds between steps |
    | `seed` | an integer from 0 to 2^64 − 1 |

    Raises:
        ConfigurationError: 0 < low < high does not hold, step ≤ 0, every ≤ 0, not finite, or no
            such seed; also when more than 2^24 steps are crossed by one question.
    """

    low: float | int
    high: float | int
    step: float | int
    every: float | int
    seed: int = 0
    _cells: Cells = field(init=False, repr=False, compare=False)
    _starts: list[float] = field(init=False, repr=False, compare=False)
    """Where the free walk stands at the beginning of each block, in widths of the interval."""

    def __post_init__(self) -> None:
        names = ("low", "high", "step", "every")
        for name in names:
            (value,) = positive(**{name: getattr(self, name)})
            object.__setattr__(self, name, value)
        if not self.low < self.high:
            raise ConfigurationError(
                f"low = {self.low}, high = {self.high}; give low < high, or a Constant"
            )
        object.__setattr__(self, "seed", seed_of(self.seed))
        uniform = np.random.Philox(key=np.array([self.seed, _STREAM + 1], np.uint64)).random_raw()
        object.__setattr__(self, "_starts", [(int(uniform) >> 11) * 2.0**-53])
        object.__setattr__(self, "_cells", Cells(Constant(1.0), self.every, self._rates))

    def at(self, t: float | int) -> float:
        """The rate of the cell that holds `t`."""
        return self._cells.level(t)

    def mean(self) -> float:
        """(high − low)/log(high/low): in the long run the logarithm is uniform."""
        return (self.high - self.low) / math.log(self.high / self.low)

    def to_config(self) -> dict[str, Any]:
        """The five numbers."""
        return {
            "rate": "random walk",
            "low": self.low,
            "high": self.high,
            "step": self.step,
            "every": self.every,
            "seed": self.seed,
        }

    def _between(self, start: float | int, end: float | int) -> float:
        return self._cells.between(start, end)

    def _end(self, start: float | int, amount: float | int) -> float:
        return self._cells.end(start, amount)

    def _rates(self, b: int) -> Float64[np.ndarray, " cells"]:
        width = math.log(self.high / self.low)
        while len(self._starts) <= b:
            steps = normals(self.seed, _STREAM, len(self._starts) - 1)
            self._starts.append(self._starts[-1] + self.step / width * float(steps.sum()))
        steps = normals(self.seed, _STREAM, b)[: BLOCK - 1]
        walk = self._starts[b] + self.step / width * np.append(0.0, np.cumsum(steps))
        folded = 1 - np.abs(1 - np.mod(walk, 2))
        return self.low * np.exp(width * folded)
