"""Tokens to calibrate on: windows of a text, or random ones where there is no text."""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int32

from dopt.errors import ConfigurationError
from dopt.evaluation.windows import check_tokens


log = logging.getLogger("dopt")

COUNT, LENGTH = 128, 2048
"""Of GPTQ: 128 windows of 2048 tokens."""


def calibration_windows(
    tokens: Sequence[int] | np.ndarray,
    count: int = COUNT,
    length: int = LENGTH,
    *,
    seed: int,
    longest: int,
) -> Int32[np.ndarray, "N T"]:
    """Windows of a text that begin at random places, no two at the same.

    Windows may overlap. What the text or the model cannot give is cut, and logged as a warning: the
    length to the shorter of both, the count to the number of places.

    Args:
        tokens: of the text.
        count: of windows.
        length: tokens of a window.
        seed: of the places.
        longest: most tokens that the model was made for, as `config.longest`.

    Raises:
        ConfigurationError: a count, a length or a text that gives no window.
    """
    text = np.asarray(tokens, np.int32)
    if count < 1 or length < 1 or text.size < 1:
        raise ConfigurationError(
            f"{count} windows of {length} tokens from a text of {text.size}; "
            "each must be at least 1"
        )
    cut = min(length, longest, text.size)
    places = text.size - cut + 1
    kept = min(count, places)
    if (kept, cut) != (count, length):
        log.warning(
            "calibration on %d windows of %d tokens instead of %d of %d: the text has %d tokens, "
            "and the model was made for %d",
            *(kept, cut, count, length, text.size, longest),
        )
    starts = np.random.default_rng(seed).choice(places, kept, replace=False)
    return np.stack([text[start : start + cut] for start in starts])


def random_tokens(
    vocabulary: int, count: int, length: int, *, seed: int
) -> Int32[np.ndarray, "N T"]:
    """Windows of tokens drawn uniformly, which need no data (as HIGGS is tuned without).

    Raises:
        ConfigurationError: nothing to draw, or nothing to draw from.
    """
    if min(vocabulary, count, length) < 1:
        raise ConfigurationError(
            f"{count} windows of {length} tokens out of {vocabulary}; each must be at least 1"
        )
    return np.random.default_rng(seed).integers(0, vocabulary, (count, length), np.int32)


def check_calibration(tokens: Int[np.ndarray, "N T"], vocabulary: int) -> None:
    """Refuses windows that hold nothing, or tokens that a model does not have.

    Raises:
        ConfigurationError: see there.
    """
    if not tokens.size:
        raise ConfigurationError(f"calibration windows have shape {tokens.shape}; give a token")
    check_tokens(tokens, vocabulary)
