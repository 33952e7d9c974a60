"""How short an entropy coder would make the codes of a message: estimates, not what travels.

The messages of this package have codes of fixed width, and `nbits` counts their packed words.
These functions say what a variable-length code of the same integers would take. Their result
depends on the values, so it can drive no clock of a simulation in which times come first.
"""

from typing import Literal

import numpy as np
from jaxtyping import Array, Int, Integer


Codes = Integer[Array, "..."] | Integer[np.ndarray, "..."]
"""Integer codes, such as the levels of a dithering compressor."""


def entropy_bits(codes: Codes) -> float:
    """An estimate of what an adaptive arithmetic coder needs: count × empirical entropy, in bits.

    It leaves out the table of frequencies or the cost of learning it, about (1/2)·log2(count) bits
    for each distinct code.
    """
    counts = np.unique(np.asarray(codes), return_counts=True)[1]
    return float(counts @ (np.log2(counts.sum()) - np.log2(counts))) if counts.size else 0.0


def elias_bits(codes: Codes, *, code: Literal["omega", "gamma"] = "omega") -> int:
    """An estimate for sparse signed levels: gap, sign and level of each non-zero one, in bits.

    The coding of QSGD (Alistarh et al. 2017, arXiv 1610.02132, section 3.2) with Elias's code for
    the distance from the previous non-zero level and for the magnitude; the norm is not counted.
    """
    levels = np.asarray(codes).ravel().astype(np.int64)
    places = np.flatnonzero(levels)
    gaps = np.diff(places, prepend=-1)
    length = elias_lengths(np.concatenate([gaps, np.abs(levels[places])]), code=code)
    return places.size + int(length.sum())


def elias_dense_bits(codes: Codes, *, code: Literal["omega", "gamma"] = "omega") -> int:
    """An estimate for dense signed levels: Elias's code of magnitude + 1, and a sign if not zero.

    QSGD's second coding (same paper, for about √d levels or more); the norm is not counted.
    """
    levels = np.abs(np.asarray(codes).ravel().astype(np.int64))
    return int(np.count_nonzero(levels)) + int(elias_lengths(levels + 1, code=code).sum())


def elias_lengths(
    numbers: Int[np.ndarray, " k"], *, code: Literal["omega", "gamma"] = "omega"
) -> Int[np.ndarray, " k"]:
    """Lengths in bits of Elias's codes of positive integers (Elias 1975).

    γ writes ⌊log2 n⌋ zeros and then n in binary. ω starts from a final 0 and puts n before it in
    binary, then the length of that less 1, and so on until 1 is reached.

    Raises:
        ValueError: a number is below 1.
    """
    if numbers.size and numbers.min() < 1:
        raise ValueError(f"Elias codes start at 1, not {numbers.min()}: shift the codes")
    if code == "gamma":
        return 2 * _log2(numbers) + 1
    total = np.ones_like(numbers)
    while (numbers > 1).any():
        log = _log2(numbers)
        total += np.where(numbers > 1, log + 1, 0)
        numbers = np.where(numbers > 1, log, 1)
    return total


def _log2(numbers: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """⌊log2 n⌋ of integers in [1, 2⁵³)."""
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 1
