"""Rates that are drawn anew for every cell of time: tables that grow as time is asked for."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from dopt.errors import ConfigurationError
from simulators.rates._base import INFINITE, Rate


BLOCK = 256
"""Cells that are drawn at once."""

_KEPT = 64
"""Blocks in memory for each rate; others are drawn again."""

_MOST_CELLS = 2**24
"""Cells that one question may cross before it is refused: half a minute of drawing."""

_LEAST = 5e-324
"""An amount that has passed as soon as anything has."""


class _Block(NamedTuple):
    levels: array
    passed: array
    """What has passed since the block began, at each of the `BLOCK` + 1 edges of its cells."""


class Cells:
    """`level` of the cell times the base rate; cell j is [j·every, (j + 1)·every).

    `levels(b)` draws those of the cells b·BLOCK to (b + 1)·BLOCK − 1, the same whenever it is
    asked. Integrals are sums over blocks from where they start; of blocks that were crossed once,
    the sums are kept.
    """

    def __init__(
        self, base: Rate, every: float, levels: Callable[[int], Float64[np.ndarray, " cells"]]
    ) -> None:
        self.base = base
        self.every = every
        self.levels = levels
        self.blocks: dict[int, _Block] = {}
        self.totals: dict[int, float] = {}

    def level(self, t: float | int) -> float:
        """The level of the cell that holds `t`."""
        block, cell = divmod(self._cell(t), BLOCK)
        return self._block(block).levels[cell]

    def between(self, start: float | int, end: float | int) -> float:
        """The integral over [start, end]."""
        first, last = self._cell(start), self._cell(end)
        if first == last:
            return self._level_of(first) * self.base.between(start, end)
        head = self._level_of(first) * self._base_until(start, first)
        edge = last * self.every
        tail = self._level_of(last) * self.base.between(edge, end) if edge < end else 0.0
        return head + self._whole(first + 1, last) + tail

    def end(self, start: float | int, amount: float | int) -> float:
        """The earliest time at which `amount` has passed since `start`."""
        now = self._cell(start)
        level = self._level_of(now)
        left = level * self._base_until(start, now)
        if amount <= left:
            return min(self.base.end(start, amount / level), (now + 1) * self.every)
        amount -= left
        block, cell = divmod(now + 1, BLOCK)
        for _ in range(_MOST_CELLS // BLOCK):
            # Whole blocks are crossed by their sums, the last one is searched.
            if cell == 0:
                total = self._total(block)
            else:
                passed = self._block(block).passed
                total = passed[-1] - passed[cell]
            if amount <= total:
                return self._search(block, cell, amount)
            amount -= total
            block, cell = block + 1, 0
            if total == 0:
                edge = block * BLOCK * self.every
                again = self.base.end(edge, _LEAST)
                if again == INFINITE:
                    return INFINITE
                block = max(block, self._cell(again) // BLOCK)
        raise self._too_far()

    def _search(self, block: int, cell: int, amount: float | int) -> float:
        """The time in `block` at which `amount` has passed since its `cell` began."""
        levels, passed = self._block(block)
        needed = passed[cell] + amount
        i = min(bisect_left(passed, needed, cell + 1), BLOCK) - 1
        j = block * BLOCK + i
        edge = j * self.every
        inside = self.base.end(edge, max(needed - passed[i], 0.0) / levels[i])
        return min(inside, (j + 1) * self.every)

    def _whole(self, first: int, last: int) -> float:
        """The integral over the cells `first` to `last` − 1."""
        if last - first > _MOST_CELLS:
            raise self._too_far()
        (block, cell), (end_block, end_cell) = divmod(first, BLOCK), divmod(last, BLOCK)
        if block == end_block:
            passed = self._block(block).passed
            return passed[end_cell] - passed[cell]
        passed = self._block(block).passed
        head = passed[-1] - passed[cell]
        body = math.fsum(self._total(b) for b in range(block + 1, end_block))
        tail = self._block(end_block).passed[end_cell] if end_cell else 0.0
        return head + body + tail

    def _too_far(self) -> ConfigurationError:
        return ConfigurationError(
            f"more than 2^24 cells of every = {self.every} s are crossed at once; make the cells "
            "longer, or ask for less"
        )

    def _base_until(self, start: float | int, cell: int) -> float:
        """What the base brings from `start` to the end of its cell."""
        return self.base.between(start, max((cell + 1) * self.every, start))

    def _cell(self, t: float | int) -> int:
        """The cell that holds `t`, by the very products that are its edges."""
        j = int(t / self.every)
        if j * self.every > t:
            return j - 1
        return j + 1 if (j + 1) * self.every <= t else j

    def _level_of(self, j: int) -> float:
        block, cell = divmod(j, BLOCK)
        return self._block(block).levels[cell]

    def _total(self, b: int) -> float:
        total = self.totals.get(b)
        return self._block(b).passed[-1] if total is None else total

    def _block(self, b: int) -> _Block:
        block = self.blocks.get(b)
        if block is None:
            if len(self.blocks) == _KEPT:
                del self.blocks[next(iter(self.blocks))]
            block = self.blocks[b] = self._draw(b)
            self.totals[b] = block.passed[-1]
        return block

    def _draw(self, b: int) -> _Block:
        levels = self.levels(b)
        edges = [j * self.every for j in range(b * BLOCK, (b + 1) * BLOCK + 1)]
        base = [self.base.between(*edges[i : i + 2]) for i in range(BLOCK)]
        passed = np.append(0.0, np.cumsum(levels * np.array(base)))
        return _Block(array("d", levels.tolist()), array("d", passed.tolist()))


def normals(seed: int, stream: int, b: int) -> Float64[np.ndarray, " cells"]:
    """Standard normals of the cells of block `b`, which depend on nothing else.

    Box and Muller's transform of raw words: those of a bit generator stay what they are in every
    numpy, its distributions need not.
    """
    key = np.array([seed, stream], np.uint64)
    words = np.random.Philox(key=key, counter=b * BLOCK // 4).random_raw(BLOCK)
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2 * np.log(uniform[: BLOCK // 2]))
    angle = 2 * np.pi * uniform[BLOCK // 2 :]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
