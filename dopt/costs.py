"""What a cluster charges one problem and one compressor: seconds of every worker, and bits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, overload

import numpy as np
from jaxtyping import Bool, Float64, Int

from dopt.errors import ConfigurationError


Times = np.ndarray | Sequence[float | int]
"""One number of seconds for each worker."""


def seconds_of_workers(name: str, values: Times) -> Float64[np.ndarray, " n"]:
    """A read-only float64 copy of `values`, the time `name` of every worker.

    Infinity is a time: that worker never answers.

    Raises:
        ConfigurationError: not one number for each worker, no worker, a negative time or a NaN.
    """
    try:
        seconds = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{name} must hold one number of seconds for each worker: {error}"
        ) from None
    if seconds.ndim != 1:
        raise ConfigurationError(
            f"{name} has shape {seconds.shape}; give a flat array, one number for each worker"
        )
    if seconds.size == 0:
        raise ConfigurationError(f"{name} is empty; a cluster needs at least one worker")
    wrong = np.flatnonzero(~(seconds >= 0))
    if wrong.size:
        first = wrong[0]
        more = f" (and {wrong.size - 1} more workers)" if wrong.size > 1 else ""
        raise ConfigurationError(
            f"{name}[{first}] = {seconds[first]} of worker {first}{more} is not a time; "
            "give seconds >= 0, or inf for a worker that never answers"
        )
    seconds += 0.0  # -0.0 becomes 0.0, so that equal clusters have equal bytes
    seconds.flags.writeable = False
    return seconds


@dataclass(frozen=True, eq=False)
class Costs:
    """Seconds and bits of every elementary act, worker by worker; infinite where it never ends.

    | field | meaning |
    |---|---|
    | `h` | seconds per stochastic gradient |
    | `tau` | seconds of one compressed message to the server |
    | `tau_dense` | seconds of one dense message to the server |
    | `tau_down` | seconds of one dense model to the worker |
    | `message_bits` | bits of one compressed message |
    | `dense_bits` | bits of one dense message, and of one dense model |
    | `latency` | the part of a message's or a model's seconds that does not grow with its bits |

    `computed`, `uploaded` and `downloaded` say when an act ends that begins at a given time, and
    `up_bits` and `down_bits` what a link can carry from then on. Where times vary (`varying`) these
    hold, and the fields above are averages.

    Raises:
        ConfigurationError: a negative time or a NaN, lengths that differ, a message without bits.
    """

    varying: ClassVar[bool] = False

    h: Float64[np.ndarray, " n"]
    tau: Float64[np.ndarray, " n"]
    tau_dense: Float64[np.ndarray, " n"]
    tau_down: Float64[np.ndarray, " n"]
    message_bits: int
    dense_bits: int
    latency: Float64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(1))

    def __post_init__(self) -> None:
        if len(self.latency) == 1:
            object.__setattr__(self, "latency", np.repeat(self.latency, len(self.h)))
        for name in ("h", "tau", "tau_dense", "tau_down", "latency"):
            seconds = seconds_of_workers(name, getattr(self, name))
            if seconds.size != self.n:
                raise ConfigurationError(
                    f"{name} has {seconds.size} workers and h has {self.n}; give one time for each"
                )
            object.__setattr__(self, name, seconds)
        for name in ("message_bits", "dense_bits"):
            if getattr(self, name) < 1:
                raise ConfigurationError(
                    f"{name} = {getattr(self, name)}; a message has at least one bit"
                )

    @property
    def n(self) -> int:
        """The number of workers."""
        return self.h.size

    @overload
    def job_seconds(
        self,
        worker: int | np.integer,
        gradients: int | np.integer,
        messages: int | np.integer,
        dense: bool | np.bool_,
        download: bool,
        bits: int | None = None,
        download_bits: int | None = None,
    ) -> float: ...

    @overload
    def job_seconds(
        self,
        worker: Int[np.ndarray, " jobs"],
        gradients: int | Int[np.ndarray, " jobs"],
        messages: int | Int[np.ndarray, " jobs"],
        dense: bool | Bool[np.ndarray, " jobs"],
        download: bool,
        bits: int | None = None,
        download_bits: int | None = None,
    ) -> Float64[np.ndarray, " jobs"]: ...

    def job_seconds(
        self,
        worker: int | np.integer | Int[np.ndarray, " jobs"],
        gradients: int | np.integer | Int[np.ndarray, " jobs"],
        messages: int | np.integer | Int[np.ndarray, " jobs"],
        dense: bool | np.bool_ | Bool[np.ndarray, " jobs"],
        download: bool,
        bits: int | None = None,
        download_bits: int | None = None,
    ) -> float | Float64[np.ndarray, " jobs"]:
        """Seconds of a job of `worker`: download the model, then gradients, then messages.

        `dense` says that the messages are dense and not compressed; `bits` are those of one
        message where they are neither's. `download` says whether the model travels, with
        `download_bits` where these are not a whole model's (with 0 nothing travels). A job without
        messages stays on its worker: nothing travels, not even the model. What is asked zero times
        costs nothing, even where one time would be infinite. With arrays, one job an entry.
        """
        per_message = np.where(dense, self.tau_dense[worker], self.tau[worker])
        if bits is not None:
            per_message = self.uplink_seconds(worker, bits)
        model = self.tau_down[worker]
        if download_bits is not None:
            model = self.downlink_seconds(worker, download_bits)
        travels = np.greater(messages, 0)
        download = download and download_bits != 0
        seconds = (
            gradients * np.where(np.greater(gradients, 0), self.h[worker], 0.0)
            + messages * np.where(travels, per_message, 0.0)
            + np.where(np.logical_and(travels, download), model, 0.0)
        )
        return seconds if isinstance(worker, np.ndarray) else float(seconds)

    def bits_each(self, dense: bool, bits: int | None = None) -> int:
        """Bits of one message of a job: `bits` where they are known, else by its kind."""
        if bits is not None:
            return bits
        return self.dense_bits if dense else self.message_bits

    def uplink_seconds(
        self, worker: int | np.integer | Int[np.ndarray, " jobs"], bits: int
    ) -> np.ndarray | np.float64:
        """Seconds of a message of so many bits."""
        return self._partly(self.tau_dense, bits)[worker]

    def downlink_seconds(
        self, worker: int | np.integer | Int[np.ndarray, " jobs"], bits: int
    ) -> np.ndarray | np.float64:
        """Seconds of so many bits to the worker."""
        return self._partly(self.tau_down, bits)[worker]

    def computed(self, worker: int, start: float, gradients: int, before: int) -> float:
        """When `gradients` are there that a worker begins at `start`, having computed `before`."""
        return start + gradients * float(self.h[worker]) if gradients else start

    def uploaded(self, worker: int, start: float, bits: int) -> float:
        """When a message that is sent at `start` has arrived."""
        return start + float(self.uplink_seconds(worker, bits))

    def downloaded(self, worker: int, start: float, bits: int) -> float:
        """When what the server sends at `start` has arrived."""
        return start + float(self.downlink_seconds(worker, bits))

    def up_bits(self, worker: int, start: float, seconds: float) -> float:
        """How many bits sent at `start` have arrived after `seconds`; infinite on a free link."""
        return self._carried(self.tau_dense, worker, seconds)

    def down_bits(self, worker: int, start: float, seconds: float) -> float:
        """How many bits that the server sends at `start` have arrived after `seconds`."""
        return self._carried(self.tau_down, worker, seconds)

    def _carried(self, whole: Float64[np.ndarray, " n"], worker: int, seconds: float) -> float:
        """The bits of `seconds`, where `dense_bits` take `whole`."""
        latency, dense = float(self.latency[worker]), float(whole[worker])
        if not seconds > latency or not np.isfinite(dense):
            return 0.0
        moving = dense - latency
        return (seconds - latency) * self.dense_bits / moving if moving else np.inf

    def _partly(self, whole: Float64[np.ndarray, " n"], bits: int) -> Float64[np.ndarray, " n"]:
        """Seconds of `bits` bits where `dense_bits` take `whole`."""
        with np.errstate(invalid="ignore"):
            partly = self.latency + (whole - self.latency) * (bits / self.dense_bits)
        return np.where(np.isfinite(whole), partly, whole)
