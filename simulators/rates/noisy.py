"""A rate with multiplicative noise that keeps its average."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from simulators.rates._base import Rate
from simulators.rates._cells import Cells, normals
from simulators.rates._checks import not_negative, positive, seed_of


_STREAM = 0


@dataclass(frozen=True)
class Noisy(Rate):
    """`base` times a lognormal factor of mean 1, drawn anew every `every` seconds.

    The factor of the j-th such cell of time is exp(spread·z − spread²/2), z a standard normal that
    depends on `seed` and j only: it is the same whatever was asked before.

    | field | meaning |
    |---|---|
    | `base` | the rate without noise |
    | `spread` | standard deviation of the factor's logarithm |
    | `every` | seconds that a factor lasts |
    | `seed` | an integer from 0 to 2^64 − 1 |

    Raises:
        ConfigurationError: spread < 0, every ≤ 0, not finite, or no such seed; also when more than
            2^24 factors are crossed by one question.
    """

    base: Rate
    spread: float | int
    every: float | int
    seed: int = 0
    _cells: Cells = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        (spread,), (every,) = not_negative(spread=self.spread), positive(every=self.every)
        values = {"spread": spread, "every": every, "seed": seed_of(self.seed)}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_cells", Cells(self.base, every, self._factors))

    def at(self, t: float | int) -> float:
        """The base at time `t` times the factor of its cell."""
        return self._cells.level(t) * self.base.at(t)

    def mean(self) -> float:
        """The average of the base: that of the factors is 1."""
        return self.base.mean()

    def to_config(self) -> dict[str, Any]:
        """The base and the three numbers."""
        return {
            "rate": "noisy",
            "base": self.base.to_config(),
            "spread": self.spread,
            "every": self.every,
            "seed": self.seed,
        }

    def _between(self, start: float | int, end: float | int) -> float:
        return self._cells.between(start, end)

    def _end(self, start: float | int, amount: float | int) -> float:
        return self._cells.end(start, amount)

    def _factors(self, b: int) -> Float64[np.ndarray, " cells"]:
        return np.exp(self.spread * normals(self.seed, _STREAM, b) - self.spread**2 / 2)
