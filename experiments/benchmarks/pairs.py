"""Ratios of rivals that were timed in interleaved pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


PAIRS = 9
"""Fewest pairs that give an interval of 95 % without the two outermost ratios."""


class Ratio(NamedTuple):
    """The median of the ratios of pairs, and an interval that covers it with 95 %."""

    median: float
    low: float
    high: float


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """How many times as fast: their seconds over ours, pair by pair.

    The interval is that of order statistics, which asks nothing of the distribution: the true
    median lies outside the k-th smallest and largest of n with probability 2·P(Bin(n, ½) < k).
    """
    from scipy.stats import binom

    each = np.sort(np.asarray(theirs) / np.asarray(ours))
    k = max(int(binom.ppf(0.025, len(each), 0.5)), 1)
    return Ratio(float(np.median(each)), float(each[k - 1]), float(each[-k]))
