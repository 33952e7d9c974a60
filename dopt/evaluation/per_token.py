"""A number per token, measured window by window, with its spread over windows."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from dopt.errors import ConfigurationError


@dataclass(frozen=True, eq=False)
class PerToken:
    """Sums over the tokens that each window scores.

    Attributes:
        sums: of each window.
        counts: tokens that each window scores.
        windows: the fingerprint of the windows.
    """

    sums: Float64[np.ndarray, " N"]
    counts: Int64[np.ndarray, " N"]
    windows: str

    @property
    def mean(self) -> float:
        """The mean over all tokens: every token weighs the same."""
        return float(self.sums.sum() / self.counts.sum())

    @property
    def error(self) -> float:
        """The standard error of `mean` over windows; NaN for one window.

        That of a ratio, √(N/(N − 1) Σ(sum_i − mean·count_i)²) / Σ count_i (Cochran, "Sampling
        techniques", section 6.5, without the factor for a finite population). Windows of one text
        are treated as independent, which neighbours are not quite.
        """
        N = self.counts.size
        if N < 2:
            return math.nan
        left = self.sums - self.mean * self.counts
        return math.sqrt(N / (N - 1) * float(left @ left)) / float(self.counts.sum())


def paired_difference(a: PerToken, b: PerToken) -> PerToken:
    """The difference a − b on the same windows; what both find hard falls out of the error.

    Raises:
        ConfigurationError: they were measured on different windows.
    """
    if a.windows != b.windows:
        raise ConfigurationError(
            f"measured on different windows ({a.counts.sum()} and {b.counts.sum()} tokens); "
            "a paired difference needs the same text, window and stride"
        )
    return PerToken(a.sums - b.sums, a.counts, a.windows)
