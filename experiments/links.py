"""The links of Kimad's studies: recorded ones where there are any, else random walks."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dopt.data import data_folder
from dopt.data.traces import BandwidthTrace, load_traces, read_trace
from dopt.errors import ConfigurationError, DataError
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

    A path is a set as well: a file with a time and Mbit/s a line, or a folder of such files, by
    name. A recording begins again where it ends. Without a data folder a short name stands for
    random walks in the range of the recordings.

    Raises:
        ConfigurationError: an unknown set.
        DataError: a file that is no trace, or a folder without files.
    """
    short = SETS.get(name)
    if short is None and Path(name).exists():
        return _recorded(_files(Path(name)), Path(name).name)
    if data_folder(data) is None:
        if short is None:
            raise ConfigurationError(
                f"sets: {name!r} is no file or folder, and needs a data folder, given by --data or "
                f"DOPT_DATA; without one there are stand-ins for {', '.join(SETS)}"
            )
        low, high = (MEGABIT * bound for bound in short[1])
        walks = tuple(RandomWalk(low, high, 0.3, 1.0, seed) for seed in range(STAND_INS))
        names = tuple(f"walk {seed}" for seed in range(STAND_INS))
        return Links(names, walks, f"random walks in the range of {short[0]}")
    known = short[0] if short else name
    return _recorded(load_traces(known, data), known)


def _recorded(traces: Sequence[BandwidthTrace], source: str) -> Links:
    rates = tuple(Recorded(trace.t, MEGABIT * trace.mbps) for trace in traces)
    return Links(tuple(trace.name for trace in traces), rates, source)


def _files(path: Path) -> list[BandwidthTrace]:
    """The trace of a file, or of all files of a folder."""
    if path.is_file():
        return [read_trace(path)]
    files = sorted(each for each in path.iterdir() if each.is_file())
    if not files:
        raise DataError(f"{path} holds no files; give a folder of traces, or a trace")
    return [read_trace(each) for each in files]


def first_of(links: Links, traces: int | None, name: str) -> Sequence[int]:
    """The first so many, or all; never chosen by what they hold."""
    total = len(links.rates)
    if traces is not None and not 1 <= traces <= total:
        raise ConfigurationError(
            f"traces = {traces}: the set {name} has {total}; give at most so many, or None for all"
        )
    return range(total if traces is None else traces)
