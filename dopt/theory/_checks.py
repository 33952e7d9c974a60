"""The door of the theory package: numbers and arrays of seconds, checked once, as float64."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real

from dopt.errors import ConfigurationError


Seconds = Real[np.ndarray, "..."] | Sequence[float | int] | float | int
"""Seconds of n workers, shape (n,), or one number for all of them; inf is never."""


def worker_times(**times: Seconds) -> tuple[Float[np.ndarray, " n"], ...]:
    """Arrays of seconds, one entry a worker; a scalar stands for every worker.

    Infinity is a worker that never finishes. What comes back may share memory with what came in.

    Raises:
        ConfigurationError: an empty array, two lengths, an entry that is negative or NaN.
    """
    arrays = {name: np.asarray(t, dtype=np.float64) for name, t in times.items()}
    for name, t in arrays.items():
        if t.ndim > 1 or t.size == 0:
            raise ConfigurationError(
                f"{name} has shape {t.shape}; give one time a worker, for at least one worker"
            )
        wrong = np.flatnonzero(~(t.ravel() >= 0))
        if wrong.size:
            at = f"[{wrong[0]}]" if t.ndim else ""
            raise ConfigurationError(
                f"{name}{at} = {t.ravel()[wrong[0]]}; seconds are >= 0, "
                "and inf stands for a worker that never finishes"
            )
    lengths = {name: t.size for name, t in arrays.items() if t.ndim}
    if len(set(lengths.values())) > 1:
        raise ConfigurationError(
            f"arrays of different lengths: {lengths}; give as many times as workers in each, "
            "or a scalar that holds for all workers"
        )
    n = max(lengths.values(), default=1)
    return tuple(np.broadcast_to(t, n) for t in arrays.values())


def nonnegative(name: str, value: float | int) -> float:
    """`value` as a float that is finite and >= 0, or an error that names it."""
    if not 0 <= value < math.inf:
        raise ConfigurationError(f"{name} = {value}; give a finite number >= 0")
    return float(value)


def positive(name: str, value: float | int) -> float:
    """`value` as a float that is finite and > 0, or an error that names it."""
    if not 0 < value < math.inf:
        raise ConfigurationError(f"{name} = {value}; give a finite number > 0")
    return float(value)


def fraction(name: str, value: float | int) -> float:
    """`value` as a float in (0, 1], or an error that names it."""
    if not 0 < value <= 1:
        raise ConfigurationError(f"{name} = {value}; give a number with 0 < {name} <= 1")
    return float(value)


def count(name: str, value: int) -> int:
    """`value` as a whole number >= 1, or an error that names it."""
    if value != int(value) or value < 1:
        raise ConfigurationError(f"{name} = {value}; give a whole number >= 1")
    return int(value)
