"""The outcome of one check, and the comparisons that checks are made of."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


ROUNDING = 64
"""Multiples of the machine epsilon that two orders of the same arithmetic may differ by."""


class Finding(NamedTuple):
    """The outcome of one check: `measured` against `declared`, and where it was worst."""

    check: str
    passed: bool
    measured: float
    declared: float
    detail: str


def none_of(check: str, failed: list[str]) -> Finding:
    """Passes where nothing failed; names what did."""
    return Finding(check, not failed, len(failed), 0, ", ".join(failed) or "all vectors")


def difference(check: str, got: Any, expected: np.ndarray, terms: np.ndarray) -> Finding:
    """Equality up to rounding, measured against the largest term that was summed."""
    allowed = rounding(terms.dtype) * float(np.abs(terms).max())
    worst = float(np.abs(np.asarray(got) - expected).max())
    return Finding(check, worst <= allowed, worst, allowed, "largest difference, and its bound")


def close(got: Any, expected: Any) -> bool:
    """Equality up to rounding, measured against the largest entry."""
    allowed = rounding(got.dtype)
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return bool(np.abs(got - expected).max() <= allowed * np.abs(expected).max())


def same_bits(one: Any, other: Any) -> bool:
    """The same tree, with leaves of the same shape, dtype and bytes."""
    a, b = jax.tree.leaves(one), jax.tree.leaves(other)
    trees: list[Any] = [jax.tree.structure(one), jax.tree.structure(other)]
    return trees[0] == trees[1] and all(
        p.shape == q.shape and p.dtype == q.dtype and p.tobytes() == q.tobytes()
        for p, q in zip(map(np.asarray, a), map(np.asarray, b), strict=True)
    )


def rounding(dtype: Any) -> float:
    """The relative difference that rounding explains."""
    return ROUNDING * float(jnp.finfo(dtype).eps)
