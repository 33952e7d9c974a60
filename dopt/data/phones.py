"""How fast phones compute, compared with each other."""

import json
import math
import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from dopt.data.folders import data_folder
from dopt.errors import DataError


_SCORE = "CPU_F_AI_Score"


class PhoneSpeeds(NamedTuple):
    """Phones in the order of the list; a model that stands there several times is kept so."""

    names: tuple[str, ...]

    speeds: Float64[np.ndarray, " phones"]
    """Speeds relative to the median phone's, which is 1: a phone of speed 2 takes half the time."""


def load_phone_speeds(folder: str | os.PathLike[str] | None = None) -> PhoneSpeeds:
    """Speeds from the scores of AI Benchmark in `<data folder>/device_ai_benchmark`.

    A phone's speed is its `CPU_F_AI_Score`, the score in floating point on the CPU, divided by the
    median score. Where a model was listed in several variants, so are its speeds.

    Args:
        folder: the data folder; what `DOPT_DATA` names by default.

    Raises:
        DataError: no data folder, a file that is absent or not such a list, or a score that is no
            positive number; the message names the phone.
    """
    root = data_folder(folder)
    if root is None:
        raise DataError("no data folder is given; set DOPT_DATA to one with device_ai_benchmark/")
    path = root / "device_ai_benchmark" / "raw_ai_benchmark_list.json"
    try:
        phones = json.loads(path.read_text(encoding="utf-8"))
        listed = [(phone["Model"], phone[_SCORE]) for phone in phones]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a list of phones with Model and {_SCORE} ({error}); fetch it again"
        ) from None
    if not listed:
        raise DataError(f"{path} lists no phone; fetch it again")
    scores = np.array([_number(f"{path}, {name}", score) for name, score in listed])
    return PhoneSpeeds(tuple(str(name) for name, _ in listed), scores / np.median(scores))


def _number(place: str, score: object) -> float:
    try:
        value = float(str(score))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise DataError(f"{place}: {_SCORE} = {score!r} is not a positive number")
    return value
