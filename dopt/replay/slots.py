"""Which old models to keep, and where: register allocation over model versions.

A version is alive from the step that makes it to the last step that reads it, if any does. Linear
scan gives every version a slot, so that a replay carries `slots × d` numbers: 1 where everyone
reads the newest model, the largest number of versions in flight otherwise, never one a worker.
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
    # Slots that are free wait in a queue: the j-th version that finds one takes over from the j-th
    # that ended. Before version v + 1, min_{u <= v} (ended[u] + v − u) have found one.
    ending = np.argsort(last, kind="stable")
    v = np.arange(K + 1)
    ended = np.searchsorted(last[ending], v)
    found = np.concatenate([[0], v + np.minimum.accumulate(ended - v)])
    reuses = np.diff(found) > 0
    first = np.where(reuses, ending[found[:-1]], v)
    while np.any((earlier := first[first]) != first):
        first = earlier
    slot = np.cumsum(~reuses) - 1
    return Slots(int(slot[-1]) + 1, slot[first].astype(np.int32))
