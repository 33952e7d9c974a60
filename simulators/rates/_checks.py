"""Checks that rates share: one number, or the numbers of a recording."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from dopt.errors import ConfigurationError, DataError


def positive(**values: float | int) -> tuple[float, ...]:
    """The named values as floats.

    Raises:
        ConfigurationError: one is not finite and positive.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigurationError(f"{name} = {value}; give a finite number > 0")
    return tuple(float(value) for value in values.values())


def not_negative(**values: float | int) -> tuple[float, ...]:
    """The named values as floats; -0.0 becomes 0.0.

    Raises:
        ConfigurationError: one is negative or not finite.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigurationError(f"{name} = {value}; give a finite number >= 0")
    return tuple(float(value) + 0.0 for value in values.values())


def seed_of(seed: int) -> int:
    """The seed of a random rate.

    Raises:
        ConfigurationError: it is no unsigned integer of 64 bits.
    """
    if not 0 <= seed < 2**64:
        raise ConfigurationError(f"seed = {seed}; give an integer from 0 to 2^64 - 1")
    return int(seed)


def numbers(
    name: str, values: Sequence[float | int] | np.ndarray, what: str
) -> Float64[np.ndarray, " N"]:
    """A float64 copy of a recording's `values`, each of which is `what`.

    Raises:
        DataError: not a flat list of numbers, an empty one, or one that is NaN, infinite or
            negative.
    """
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be a flat list of numbers: {error}") from None
    if found.ndim != 1:
        raise DataError(f"{name} has shape {found.shape}; give a flat list of numbers")
    if not len(found):
        raise DataError(f"{name} is empty; a recording has at least one sample")
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if len(wrong):
        i = int(wrong[0])
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise DataError(
            f"{name}[{i}] = {found[i]}{more} is not {what}; a recording holds finite numbers >= 0: "
            "repair it or leave the sample out"
        )
    return found + 0.0
