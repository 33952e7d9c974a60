"""The battery of an exchange in several phases: `check_collective(MyCollective(), d, seed=0)`."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from compressors import Collective
from theory_checks.battery.findings import Finding, close, difference, none_of
from theory_checks.battery.vectors import vectors
from theory_checks.battery.wire import dtypes


WORKERS = 3


@partial(jax.jit, static_argnums=0)
def _exchange(collective: Collective, xs: Array, state: Any) -> tuple[Array, Any]:
    return collective.exchange(xs, state)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def check_collective(collective: Collective, d: int, *, seed: int) -> list[Finding]:
    """Every check of `collective` at dimension `d`; none raises for what it finds.

    Raises:
        ValueError: the collective refuses `d`.
    """
    collective.check(d)
    return [
        finding
        for dtype in dtypes()
        for finding in _of_dtype(collective, vectors(d, dtype, seed), jax.random.key(seed))
    ]


def _of_dtype(
    collective: Collective, tests: dict[str, np.ndarray], key: Array
) -> Iterator[Finding]:
    x = tests["gaussian"]
    d, dtype = x.size, x.dtype
    start = collective.init(d, dtype, key=key)
    ill, unstable, unequal = [], [], []
    for name, x in tests.items():
        one, state = _exchange(collective, x[None], start)
        several, _ = _exchange(collective, np.stack([x] * WORKERS), start)
        y = np.asarray(one)
        if y.dtype != dtype or y.shape != (d,) or not np.isfinite(y.astype(np.float64)).all():
            ill.append(name)
        if _shapes(state) != _shapes(start) or not _finite(state):
            unstable.append(name)
        if name != "subnormal" and not close(several, y):
            unequal.append(name)
    yield none_of(f"finite, of the same shape and dtype, {dtype}", ill)
    yield none_of(f"the state keeps its shapes and stays finite, {dtype}", unstable)
    yield none_of(f"equal workers are one worker, {dtype}", unequal)
    zero, after = _exchange(collective, tests["zero"][None], start)
    largest = float(np.abs(np.asarray(zero, np.float64)).max())
    yield Finding(f"zero stays zero, {dtype}", largest == 0, largest, 0, "largest entry")
    x = tests["gaussian"]
    again, _ = _exchange(collective, x[None], after)
    yield Finding(
        f"a round of zeros is survived, {dtype}",
        bool(np.abs(np.asarray(again, np.float64)).max() > 0),
        float(np.abs(np.asarray(again, np.float64)).max()),
        0,
        "largest entry after it",
    )
    yield from _broken(collective, x, start)
    order = np.stack([x, tests["sorted"], tests["spike"]])
    forth, _ = _exchange(collective, order, start)
    back, _ = _exchange(collective, order[::-1], start)
    yield difference(f"the order of workers plays no part, {dtype}", back, np.asarray(forth), order)
    bits, dense = collective.nbits(d, dtype), 8 * x.nbytes
    yield Finding(f"nbits is positive, {dtype}", bits > 0, bits, dense, "and those of a dense x")


def _broken(collective: Collective, x: np.ndarray, start: Any) -> Iterator[Finding]:
    """One worker's NaN or infinity shows in the result, and not in the exchanges after it."""
    hidden, kept = [], []
    for value in (np.nan, np.inf, -np.inf):
        xs = np.stack([x] * WORKERS)
        xs[1, x.size // 3] = value
        y, state = _exchange(collective, xs, start)
        if np.isfinite(np.asarray(y, np.float64)).all():
            hidden.append(str(value))
        after, _ = _exchange(collective, x[None], state)
        if not np.isfinite(np.asarray(after, np.float64)).all():
            kept.append(str(value))
    yield none_of(f"NaN and infinities show, {x.dtype}", hidden)
    yield none_of(f"the state forgets NaN and infinities, {x.dtype}", kept)


def _shapes(state: Any) -> Any:
    return jax.tree.map(lambda a: (a.shape, str(a.dtype)), state)


def _finite(state: Any) -> bool:
    return all(np.isfinite(np.asarray(a, np.float64)).all() for a in jax.tree.leaves(state))
