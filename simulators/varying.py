"""A cluster whose workers and links speed up and slow down as virtual time passes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float64, Int

from dopt.costs import Costs, Times, seconds_of_workers
from dopt.errors import ConfigurationError
from simulators.cluster import check_sizes, span
from simulators.rates import Durations, Rate


Link = Rate | Sequence[Rate]
"""The rate of each worker's link, or one that all links have."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class VaryingCluster:
    """What every worker computes and sends a second; worker i is entry i of each field.

    | field | meaning |
    |---|---|
    | `compute` | gradients a second (a `Rate`), or the seconds of each gradient (`Durations`) |
    | `uplink` | units a second sent to the server |
    | `downlink` | units a second received from the server; `None`: a free broadcast |
    | `latency` | seconds between the end of sending and the arrival of a message, up or down |
    | `unit` | what the links count: `"bit"` or `"coordinate"`, one number of the problem's dtype |

    In place of a compute rate, a number h stands for h seconds a gradient. One rate in place of a
    sequence of links serves every worker: the links are then as fast at the same times, and no
    worker takes from another's. A message that is sent at time s ends where the integral of the
    rate from s on reaches its size, through outages too, and arrives `latency` seconds later. A
    free broadcast takes no time, not even the latency.

    Raises:
        ConfigurationError: no worker, lengths that differ, an unknown unit, a negative or infinite
            time, or a NaN.
        DataError: an h that is no duration.
    """

    compute: tuple[Rate | Durations, ...]
    uplink: tuple[Rate, ...]
    downlink: tuple[Rate, ...] | None
    latency: Float64[np.ndarray, " n"]
    unit: Literal["bit", "coordinate"]
    recipe: Mapping[str, Any] | None = field(init=False)

    def __init__(
        self,
        compute: Sequence[Rate | Durations | float | int],
        uplink: Link,
        downlink: Link | None = None,
        latency: Times | float | int = 0.0,
        unit: str = "bit",
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        """`recipe` is the JSON-able dict that `to_config` writes in place of the rates."""
        if unit not in ("bit", "coordinate"):
            raise ConfigurationError(f"unit = {unit!r}; it must be 'bit' or 'coordinate'")
        n = len(compute)
        if not n:
            raise ConfigurationError("compute is empty; a cluster needs at least one worker")
        if isinstance(latency, float | int):
            latency = np.full(n, latency)
        seconds = seconds_of_workers("latency", latency)
        _check_length("latency", seconds.size, n)
        if not np.isfinite(seconds).all():
            raise ConfigurationError(
                "an infinite latency: what that worker sends never arrives; leave it out"
            )
        workers = tuple(
            one if isinstance(one, Rate | Durations) else Durations((one,)) for one in compute
        )
        object.__setattr__(self, "compute", workers)
        object.__setattr__(self, "uplink", _links("uplink", uplink, n))
        down = None if downlink is None else _links("downlink", downlink, n)
        object.__setattr__(self, "downlink", down)
        object.__setattr__(self, "latency", seconds)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "recipe", recipe)

    @property
    def n(self) -> int:
        """The number of workers."""
        return len(self.compute)

    def costs(self, *, d: int, dtype: Any, message_bits: int) -> "VaryingCosts":
        """What this cluster charges a problem with `d` coordinates of `dtype`.

        Args:
            d: length of the model.
            dtype: type of one coordinate.
            message_bits: bits of one compressed message, `Compressor.nbits(d, dtype)`.
        """
        check_sizes(d, message_bits)
        coordinate = 8 * np.dtype(dtype).itemsize
        dense_bits = d * coordinate
        bits_per_unit = 1 if self.unit == "bit" else coordinate
        up = bits_per_unit * _means(self.uplink)
        free = np.zeros(self.n)
        with np.errstate(divide="ignore"):
            down = free if self.downlink is None else bits_per_unit * _means(self.downlink)
            tau_down = free if self.downlink is None else self.latency + dense_bits / down
            return VaryingCosts(
                h=_seconds_per_gradient(self.compute),
                tau=self.latency + message_bits / up,
                tau_dense=self.latency + dense_bits / up,
                tau_down=tau_down,
                message_bits=message_bits,
                dense_bits=dense_bits,
                latency=self.latency,
                cluster=self,
                bits_per_unit=bits_per_unit,
            )

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description that differs where the cluster differs.

        The recipe; otherwise the size, the unit and the SHA-256 of what the rates say of
        themselves.
        """
        if self.recipe is not None:
            return dict(self.recipe)
        rates = {
            "compute": [one.to_config() for one in self.compute],
            "uplink": [one.to_config() for one in self.uplink],
            "downlink": self.downlink and [one.to_config() for one in self.downlink],
            "latency": self.latency.tolist(),
        }
        text = json.dumps(rates, sort_keys=True, allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"varying": True, "n": self.n, "unit": self.unit, "sha256": digest}

    def describe(self) -> str:
        """One line: how many workers, and the range of the long-run averages."""
        up = span(_means(self.uplink))
        down = "free" if self.downlink is None else f"{span(_means(self.downlink))} {self.unit}/s"
        latency = f"latency {span(self.latency)}{' s/message' if self.latency.any() else ''}"
        return (
            f"{self.n} worker{'s' if self.n > 1 else ''}, varying, on average: "
            f"h {span(_seconds_per_gradient(self.compute))} s/gradient, "
            f"uplink {up} {self.unit}/s, downlink {down}, {latency}"
        )

    def __repr__(self) -> str:
        """The recipe, if there is one, and the line of `describe`."""
        recipe = "" if self.recipe is None else f"{dict(self.recipe)}, "
        return f"VaryingCluster({recipe}{self.describe()})"


@dataclass(frozen=True, eq=False, kw_only=True)
class VaryingCosts(Costs):
    """What a `VaryingCluster` charges: when acts end depends on when they start.

    The fields of `Costs` hold long-run averages: `h` is the average time of a gradient, or the
    inverse of the average rate, and a message takes its bits divided by the average bandwidth. Time
    itself does not follow them: policies that need fixed times, such as Shadowheart's, plan with
    them. They are infinite for a link that ends for good.

    | field | meaning |
    |---|---|
    | `cluster` | the rates |
    | `bits_per_unit` | bits of what the links count |
    """

    varying: ClassVar[bool] = True

    cluster: VaryingCluster
    bits_per_unit: int

    def computed(self, worker: int, start: float, gradients: int, before: int) -> float:
        """When `gradients` are there that a worker begins at `start`, having computed `before`."""
        return self.cluster.compute[worker].end(start, gradients, before)

    def uploaded(self, worker: int, start: float, bits: int) -> float:
        """When a message that is sent at `start` has arrived; infinity where it never does."""
        sent = self.cluster.uplink[worker].end(start, bits / self.bits_per_unit)
        return sent + float(self.latency[worker])

    def downloaded(self, worker: int, start: float, bits: int) -> float:
        """When what the server sends at `start` has arrived; infinity where it never does."""
        if self.cluster.downlink is None:
            return start
        sent = self.cluster.downlink[worker].end(start, bits / self.bits_per_unit)
        return sent + float(self.latency[worker])

    def up_bits(self, worker: int, start: float, seconds: float) -> float:
        """How many bits sent at `start` have arrived after `seconds`, which are finite."""
        return self._moved(self.cluster.uplink[worker], worker, start, seconds)

    def down_bits(self, worker: int, start: float, seconds: float) -> float:
        """How many bits that the server sends at `start` have arrived after `seconds`."""
        if self.cluster.downlink is None:
            return np.inf
        return self._moved(self.cluster.downlink[worker], worker, start, seconds)

    def downlink_seconds(
        self, worker: int | np.integer | Int[np.ndarray, " jobs"], bits: int
    ) -> np.ndarray | np.float64:
        """Average seconds of so many bits to the worker: none on a free link."""
        if self.cluster.downlink is None:
            return self.tau_down[worker]
        return super().downlink_seconds(worker, bits)

    def _moved(self, link: Rate, worker: int, start: float, seconds: float) -> float:
        """The bits of a link that leave in time to arrive within `seconds`."""
        moving = seconds - float(self.latency[worker])
        return self.bits_per_unit * link.between(start, start + moving) if moving > 0 else 0.0


def _links(name: str, links: Link, n: int) -> tuple[Rate, ...]:
    if isinstance(links, Rate):
        return (links,) * n
    _check_length(name, len(links), n)
    return tuple(links)


def _check_length(name: str, length: int, n: int) -> None:
    if length != n:
        raise ConfigurationError(
            f"{name} has {length} workers and compute has {n}; give one for each worker, or one "
            "for all"
        )


def _means(rates: tuple[Rate, ...]) -> Float64[np.ndarray, " n"]:
    return np.array([rate.mean() for rate in rates])


def _seconds_per_gradient(compute: tuple[Rate | Durations, ...]) -> Float64[np.ndarray, " n"]:
    """Averages: of durations as they are, of rates inverted."""
    with np.errstate(divide="ignore"):
        return np.array(
            [
                one.mean() if isinstance(one, Durations) else 1 / np.float64(one.mean())
                for one in compute
            ]
        )
