"""Samples of workers in tiles of equal height, and sums over tiles in bounded memory.

Parts of equal size, or nearly, are a tile each. Others are cut into lower tiles: every tile costs a
product and the addition of its result, about as much as `OVERHEAD` rows, and every row that fills
one up costs as much as any; the height that costs least is taken.

Few models go through all tiles at once; many go through as many tiles at a time as leave the
margins in a near cache, which on two cores halves the time of 96 models.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Int64


OVERHEAD = 40
NEARLY = 1.1
"""Parts that filled up to the largest take at most as many times more rows are a tile each."""

AT_ONCE = 2**25 if jax.__version_info__ < (0, 12) else sys.maxsize
"""Bytes of rows up to which one model takes all of them at once: about a last-level cache, or any
number where XLA reads blocks of rows on all cores faster than one core reads them once."""

CHUNK = 2**22
"""Bytes of rows at a time otherwise, so that the second product finds them in a near cache."""

NEAR = 2**25
"""Bytes of rows that are not cut for many models' sake: a last-level cache."""

MARGINS = 2**21
"""Bytes of margins at a time, of many models."""


class Layout(NamedTuple):
    """Which sample is in which place."""

    places: Int64[np.ndarray, "T B"]
    """The sample, −1 where a tile is filled up."""
    owners: Int64[np.ndarray, " T"]
    """The part that each tile belongs to; the tiles of a part follow each other."""


def layout(
    order: Int64[np.ndarray, " N"], sizes: Int64[np.ndarray, " parts"], row_bytes: int
) -> Layout:
    """Tiles for parts of these sizes that lie one after another in `order`."""
    height = _height(sizes) if len(sizes) > 1 else _height_of_one(int(sizes[0]), row_bytes)
    counts = -(-sizes // height)
    places = np.full((counts.sum(), height), -1)
    firsts = (np.cumsum(counts) - counts) * height
    within = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    places.reshape(-1)[np.repeat(firsts, sizes) + within] = order
    return Layout(places, np.repeat(np.arange(len(sizes)), counts))


def _height(sizes: Int64[np.ndarray, " parts"]) -> int:
    largest = int(sizes.max())
    if largest * len(sizes) <= NEARLY * sizes.sum():
        return largest
    heights = [2**e for e in range(4, largest.bit_length())] + [largest]
    return min(heights, key=lambda h: int(np.sum(-(-sizes // h)) * (h + OVERHEAD)))


def _height_of_one(samples: int, row_bytes: int) -> int:
    """Data that all share lie in one tile, or in several where they are larger than a chunk."""
    return -(-samples // -(-samples * row_bytes // CHUNK))


def pass_size(tiles: int, tile: int, models: int, scratch: int) -> int:
    """How many of `tiles` tiles go through a pass at a time where they are read as they lie.

    Args:
        tiles: how many there are.
        tile: bytes of one.
        models: how many there are.
        scratch: bytes that a pass makes of one tile for one model.
    """
    if models == 1:
        return _evenly(tiles, tiles if tiles * tile <= AT_ONCE else CHUNK // tile)
    if tiles * tile <= NEAR:
        return _evenly(tiles, MARGINS // (models * scratch))
    return copy_size(tiles, tile, models, scratch)


def copy_size(tiles: int, tile: int, models: int, scratch: int) -> int:
    """The same where they are copied."""
    return _evenly(tiles, min(MARGINS // (models * scratch), 2 * CHUNK // tile))


def _evenly(tiles: int, most: int) -> int:
    pieces = -(-tiles // max(1, min(most, tiles)))
    return -(-tiles // pieces)


Out = TypeVar("Out")


def over_tiles(
    tiles: int, at_a_time: int, body: Callable[[Int[Array, ""] | int, int, Out], Out], zero: Out
) -> Out:
    """`body(first, count, total)`: the total with `count` tiles more, over all of them."""
    if at_a_time == tiles:
        return body(0, tiles, zero)
    whole, rest = divmod(tiles, at_a_time)
    total = jax.lax.fori_loop(
        0, whole, lambda j, total: body(j * at_a_time, at_a_time, total), zero
    )
    return total if rest == 0 else body(tiles - rest, rest, total)


class Slots(NamedTuple):
    """Tiles of some jobs, side by side."""

    tiles: Int[Array, " C"]
    jobs: Int[Array, " C"]
    there: Bool[Array, " C"]
    """Whether there is such a tile; the last slots may be empty."""


def over_jobs(
    firsts: Int[Array, " P"],
    counts: Int[Array, " P"],
    at_a_time: int,
    body: Callable[[Slots, Out], Out],
    zero: Out,
    *,
    single: bool,
) -> Out:
    """`body(slots, total)` over the tiles of all jobs: `counts[p]` of them, from `firsts[p]` on.

    `single` says that each job has one; else their number is known when the program runs.
    """
    P = len(firsts)
    ends = jnp.cumsum(counts)

    def turn(j: Int[Array, ""] | int, total: Out) -> Out:
        slots = j * at_a_time + jnp.arange(at_a_time, dtype=ends.dtype)
        jobs = jnp.minimum(jnp.searchsorted(ends, slots, side="right"), P - 1)
        there = slots < ends[-1]
        tiles = jnp.where(there, firsts[jobs] + slots - (ends[jobs] - counts[jobs]), 0)
        return body(Slots(tiles, jobs, there), total)

    if single and at_a_time == P:
        return body(Slots(firsts, jnp.arange(P), jnp.ones(P, bool)), zero)
    last = P if single else ends[-1]
    return jax.lax.fori_loop(0, (last + at_a_time - 1) // at_a_time, turn, zero)
