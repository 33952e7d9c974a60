"""The links of Kimad's studies: recorded ones where there is a data folder, else random walks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dopt.data import data_folder
from dopt.data.traces import load_traces
from dopt.errors import ConfigurationError
from simulators.rates import RandomWalk, Rate, Recorded


MEGABIT = 1e6

SETS = {
    "3g": ("hsdpa_3g_norway", (0.15, 8.0)),
    "4g": ("lumos5g_verizon_4g", (1.0, 310.0)),
    "5g": ("lumos5g_verizon_5g", (1.0, 1900.0)),
    "broadband": ("fcc_pensieve_59", (0.1, 7.7)),
}
"""Short names: the set of the data folder, and the range of the walks that stand in, in Mbit/s."""

STAND_INS = 20
"""Walks in a set, where nothing is recorded."""


class Links(NamedTuple):
    """The links of one set; `source` says what they are."""

    names: tuple[str, ...]
    rates: tuple[Rate, ...]
    source: str

    @property
    def mean(self) -> float:
        """The mean over links of their average bits a second."""
        return float(np.mean([rate.mean() for rate in self.rates]))

    def of_workers(self, first: int, n: int) -> list[Rate]:
        """Those of n workers, from one on and around."""
        return [self.rates[(first + worker) % len(self.rates)] for worker in range(n)]


def links_of(name: str, data: str | None) -> Links:
    """All links of a set, in its order: a short name, or any of the data folder's.

    A recording begins again where it ends. Without a data folder a short name stands for random
    walks in the range of the recordings.

    Raises:
        ConfigurationError: an unknown set.
    """
    short = SETS.get(name)
    if data_folder(data) is None:
        if short is None:
            raise ConfigurationError(
                f"sets: {name!r} needs a data folder, given by --data or DOPT_DATA; without one "
                f"there are stand-ins for {', '.join(SETS)}"
            )
        low, high = (MEGABIT * bound for bound in short[1])
        walks = tuple(RandomWalk(low, high, 0.3, 1.0, seed) for seed in range(STAND_INS))
        names = tuple(f"walk {seed}" for seed in range(STAND_INS))
        return Links(names, walks, f"random walks in the range of {short[0]}")
    traces = load_traces(short[0] if short else name, data)
    rates = tuple(Recorded(trace.t, MEGABIT * trace.mbps) for trace in traces)
    return Links(tuple(trace.name for trace in traces), rates, short[0] if short else name)


def first_of(links: Links, traces: int | None, name: str) -> Sequence[int]:
    """The first so many, or all; never chosen by what they hold."""
    total = len(links.rates)
    if traces is not None and not 1 <= traces <= total:
        raise ConfigurationError(
            f"traces = {traces}: the set {name} has {total}; give at most so many, or None for all"
        )
    return range(total if traces is None else traces)
