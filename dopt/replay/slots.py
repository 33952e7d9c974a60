"""Which old models to keep, and where: register allocation over model versions.

A version is alive from the step that makes it to the last step that reads it, if any does. Linear
scan gives every version a slot, so that a replay carries `slots × d` numbers: 1 where everyone
reads the newest model, the largest number of versions in flight otherwise, never one a worker. The
slot that was read last is the next to be written: it is still in the cache.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Slots:
    """`slot[v]` in [0, count) holds version v from the step that makes it to its last reading."""

    count: int
    slot: npt.NDArray[np.int32]


def allocate(
    step: npt.NDArray[np.int64], version: npt.NDArray[np.int64], K: int, reads: int = 1
) -> Slots:
    """Slots for `K` server steps whose arrivals, counted in `step`, read `version`.

    `reads` consecutive versions are read, going back from `version` (the first step reads version
    0 for all of them).
    """
    last = np.arange(K + 1)
    for back in range(reads):
        np.maximum.at(last, np.maximum(version - back, 0), step)
    ending = np.argsort(last, kind="stable")
    slot, free, count, ended = [0] * (K + 1), [], 0, 0
    versions, ends = ending.tolist(), last[ending].tolist()
    for v in range(K + 1):
        while ends[ended] < v:
            free.append(slot[versions[ended]])
            ended += 1
        if free:
            slot[v] = free.pop()
        else:
            slot[v] = count
            count += 1
    return Slots(count, np.array(slot, np.int32))
