"""A cluster with fixed times: how fast each worker computes and how fast it talks."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from dopt.costs import Costs, Times, seconds_of_workers
from dopt.errors import ConfigurationError


TIMES = ("h", "uplink", "downlink", "latency")


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Cluster:
    """Seconds of every worker, fixed in time; worker i is entry i of each array.

    | field | meaning |
    |---|---|
    | `h` | seconds per stochastic gradient |
    | `uplink` | seconds per unit sent to the server (the papers' τ̇) |
    | `downlink` | seconds per unit received from the server; 0 is the papers' free broadcast |
    | `latency` | seconds added to every message, up or down |
    | `unit` | what the links count: `"coordinate"` (the papers' choice) or `"bit"` |

    A coordinate is one number of the problem's dtype, so a message of B bits takes
    `latency + uplink * B / 32` seconds in float32, whatever the bits encode: an index costs as
    much as a value of its size. One number in place of an array serves every worker.

    Raises:
        ConfigurationError: a negative time or a NaN (infinity is allowed: that worker never
            answers), no worker, lengths that differ, an unknown unit, no worker that answers.
    """

    h: Float64[np.ndarray, " n"]
    uplink: Float64[np.ndarray, " n"]
    downlink: Float64[np.ndarray, " n"]
    latency: Float64[np.ndarray, " n"]
    unit: Literal["coordinate", "bit"]
    # Not an argument of dataclasses.replace: a cluster with other times has another recipe.
    recipe: Mapping[str, Any] | None = field(init=False)

    def __init__(
        self,
        h: Times,
        uplink: Times | float | int,
        downlink: Times | float | int = 0.0,
        latency: Times | float | int = 0.0,
        unit: str = "coordinate",
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        """`recipe` is the JSON-able dict that `to_config` writes in place of the times."""
        if unit not in ("coordinate", "bit"):
            raise ConfigurationError(f"unit = {unit!r}; it must be 'coordinate' or 'bit'")
        compute = seconds_of_workers("h", h)
        object.__setattr__(self, "h", compute)
        for name, values in (("uplink", uplink), ("downlink", downlink), ("latency", latency)):
            if isinstance(values, float | int):
                values = np.full(compute.size, values)
            seconds = seconds_of_workers(name, values)
            if seconds.size != compute.size:
                raise ConfigurationError(
                    f"{name} has {seconds.size} workers and h has {compute.size}; "
                    "give one time for each worker, or one number for all"
                )
            object.__setattr__(self, name, seconds)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "recipe", recipe)
        if not self._answers().any():
            raise ConfigurationError(
                f"none of the {self.n} workers ever answers (each has an infinite time); "
                "give at least one of them finite times"
            )

    @property
    def n(self) -> int:
        """The number of workers."""
        return self.h.size

    def costs(self, *, d: int, dtype: Any, message_bits: int) -> Costs:
        """What this cluster charges a problem with `d` coordinates of `dtype`.

        Args:
            d: length of the model.
            dtype: type of one coordinate.
            message_bits: bits of one compressed message, `Compressor.nbits(d, dtype)`.
        """
        check_sizes(d, message_bits)
        coordinate = 8 * np.dtype(dtype).itemsize
        units_per_bit = 1.0 if self.unit == "bit" else 1.0 / coordinate
        dense_bits = d * coordinate
        return Costs(
            h=self.h,
            tau=self.latency + self.uplink * (message_bits * units_per_bit),
            tau_dense=self.latency + self.uplink * (dense_bits * units_per_bit),
            tau_down=self.latency + self.downlink * (dense_bits * units_per_bit),
            message_bits=message_bits,
            dense_bits=dense_bits,
            latency=self.latency,
        )

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description that differs where the cluster differs.

        The recipe of a preset; otherwise the size, the unit and the SHA-256 of the times.
        """
        if self.recipe is not None:
            return dict(self.recipe)
        digest = hashlib.sha256()
        for name in TIMES:
            digest.update(getattr(self, name).astype("<f8").tobytes())
        return {"n": self.n, "unit": self.unit, "sha256": digest.hexdigest()}

    def describe(self) -> str:
        """One line: how many workers, and the range of each time."""
        silent = self.n - int(self._answers().sum())
        parts = [f"h {span(self.h)} s/gradient"]
        for name, per in (("uplink", self.unit), ("downlink", self.unit), ("latency", "message")):
            seconds = getattr(self, name)
            parts.append(f"{name} {span(seconds)} s/{per}" if seconds.any() else f"{name} 0")
        if silent:
            parts.append(f"{silent} never answer")
        return f"{self.n} worker{'s' if self.n > 1 else ''}: {', '.join(parts)}"

    def __repr__(self) -> str:
        """The recipe, if there is one, and the line of `describe`."""
        recipe = "" if self.recipe is None else f"{dict(self.recipe)}, "
        return f"Cluster({recipe}{self.describe()})"

    def _answers(self) -> np.ndarray:
        """Which workers have no infinite time."""
        return np.isfinite(np.stack([getattr(self, name) for name in TIMES])).all(axis=0)


def check_sizes(d: int, message_bits: int) -> None:
    """Raises `ConfigurationError` for a model without coordinates or a message without bits."""
    if d < 1:
        raise ConfigurationError(f"d = {d}; a model has at least one coordinate")
    if message_bits < 1:
        raise ConfigurationError(f"message_bits = {message_bits}; a message has at least one bit")


def span(values: np.ndarray) -> str:
    """`0.1..31.6`, or one number where all are equal."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"
