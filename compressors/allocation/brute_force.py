"""Brute force: every choice of rungs, for few layers."""

import itertools

import numpy as np
from jaxtyping import Float, Int


MOST_CHOICES = 100_000


def brute_force(
    errors: Float[np.ndarray, "L R"], bits: Int[np.ndarray, "L R"], budget: int
) -> Int[np.ndarray, " L"]:
    """The rungs of least total error within the budget, the first of equals; else all 0.

    What the other rules are measured against, in float64 and Python's integers.

    Raises:
        ValueError: there are more than `MOST_CHOICES`.
    """
    L, R = bits.shape
    if R**L > MOST_CHOICES:
        raise ValueError(
            f"{R}^{L} choices of rungs are more than {MOST_CHOICES}: take Knapsack, or fewer layers"
        )
    layers = np.arange(L)
    choices = np.asarray(list(itertools.product(range(R), repeat=L)))
    allowed = bits.astype(np.int64)[layers, choices].sum(axis=1) <= budget
    if not allowed.any():
        return np.zeros(L, np.int64)
    error = errors.astype(np.float64)[layers, choices].sum(axis=1)
    return choices[np.argmin(np.where(allowed, error, np.inf))]
