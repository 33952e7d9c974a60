"""Virtual time in integer ticks, so that ties are ties and order never hangs on a last bit.

A tick is 2^-20 of the smallest positive time of the cluster. What is rounded are absolute end
times, not durations: the j-th of a chain of equal jobs ends at round(j·duration/tick), whatever j.
"""

import math

import numpy as np

from dopt.costs import Costs
from dopt.errors import ConfigurationError, NoProgressError


TICKS_PER_FASTEST = 2**20
LAST_TICK = 2**62


def tick_seconds(costs: Costs) -> float:
    """The length of a tick for a cluster: a fraction of its fastest gradient, or else message."""
    for times in (costs.h, costs.tau, costs.tau_dense, costs.tau_down):
        usable = times[np.isfinite(times) & (times > 0)]
        if len(usable):
            return float(usable.min()) / TICKS_PER_FASTEST
    raise NoProgressError(
        "every computation and message of this cluster takes no time at all or for ever, so "
        "virtual time cannot pass; give some worker a positive, finite h"
    )


def to_ticks(seconds: float, tick: float) -> int:
    """The tick nearest to a time; an overflow is refused, not wrapped."""
    ticks = seconds / tick
    if not ticks < LAST_TICK:
        raise ConfigurationError(
            f"{seconds:.6g} s are more than 2^62 ticks of {tick:.6g} s (2^-20 of the fastest time "
            "of the cluster): the slowest and the fastest worker are too far apart for one clock; "
            "drop the worker that is never waited for, or shorten the run"
        )
    return math.floor(ticks + 0.5)
