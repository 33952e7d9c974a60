"""Which old models to keep, and where: register allocation over model versions.

A version is alive from the step that makes it to the last step that reads it. Linear scan gives
every version that is read a slot, so that a replay carries `slots × d` numbers: 1 where everyone
reads the newest model, the largest number of versions in flight otherwise, never one a worker.
"""

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Slots:
    """`slot[v]` holds version v; versions that nobody reads have slot `count`, written nowhere."""

    count: int
    slot: npt.NDArray[np.int32]


def allocate(
    step: npt.NDArray[np.int64], version: npt.NDArray[np.int64], K: int, reads: int = 1
) -> Slots:
    """Slots for `K` server steps whose arrivals, counted in `step`, read `version`.

    `reads` consecutive versions are read, going back from `version` (the first step reads version
    0 for all of them).
    """
    last = np.full(K + 1, -1, np.int64)
    for back in range(reads):
        np.maximum.at(last, np.maximum(version - back, 0), step)
    slot = np.zeros(K + 1, np.int32)
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    count = 0
    for v, until in enumerate(last.tolist()):
        while busy and busy[0][0] < v:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if until < 0:
            slot[v] = -1
            continue
        if not free:
            free.append(count)
            count += 1
        slot[v] = heapq.heappop(free)
        heapq.heappush(busy, (until, int(slot[v])))
    slot[slot < 0] = count
    return Slots(count, slot)
