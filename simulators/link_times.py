"""Links by the clock: round trips of arrays of several sizes, and the line through their times.

A link is `latency + per_bit * bits` seconds a message. Half of an empty round trip is the latency;
the slope is that of Theil and Sen, the median over pairs of trips of other sizes, which a few slow
trips do not move. Nothing here knows what carries the arrays.
"""

import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from dopt.errors import ConfigurationError


Way = Literal["down", "up"]
WAYS: tuple[Way, ...] = ("down", "up")

Transport = Callable[[Way, np.ndarray], object]
"""One round trip: down takes the array there and brings nothing, up brings one as large."""

SIZES = (0, 2**10, 2**15, 2**18, 2**19, 2**20, 2**21, 2**22)
"""Bytes of the arrays; sizes that take too long on a slow link are left out there."""

LEAST_ROUNDS = 5
"""Trips of each size and way, however long they take."""

SHARE = 0.05
"""No single trip takes more than about so much of the seconds that a worker's trips may take."""

PAIRED = 800
"""Trips that the slope is taken over; their number of pairs is its square."""


class Unreachable(Exception):
    """A transport whose worker has gone or does not answer, and why in a sentence."""


class Trip(NamedTuple):
    """One round trip that was timed."""

    worker: int
    way: Way
    bytes: int
    seconds: float


class Line(NamedTuple):
    """What a link is taken for.

    | field | meaning |
    |---|---|
    | `latency` | half the median of an empty round trip, in seconds |
    | `per_bit` | seconds a bit |
    | `low`, `high` | the 95 % interval of the slope that was fitted |
    | `misfit` | the largest error of the line at the medians of sizes, in shares of these |

    Where the fitted slope is not positive `bound` holds, and `per_bit` is `high`: sizes make no
    difference that could be seen, and bits cost at most so much.
    """

    latency: float
    per_bit: float
    low: float
    high: float
    misfit: float
    bound: bool


def round_trips(
    transports: Sequence[Transport],
    *,
    seconds: float,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    on_share: Callable[[float], None] = lambda share: None,
) -> tuple[list[Trip], dict[int, str]]:
    """Times round trips of all workers in turn, in random order, one at a time.

    Every size is tried before it counts, the smallest first.

    Args:
        transports: one a worker.
        seconds: for the trips of each worker, on average; `LEAST_ROUNDS` may take longer.
        seed: of the order.
        clock: seconds.
        on_share: told the share that is done, after each round; what it raises ends the trips.

    Returns:
        The trips of the workers that answered to the end, and why each of the others did not.
    """
    lost: dict[int, str] = {}
    planned: list[tuple[int, Way, int]] = []
    for worker, transport in enumerate(transports):
        try:
            sizes = _affordable(transport, SHARE * seconds, clock)
        except Unreachable as error:
            lost[worker] = str(error)
        else:
            planned += [(worker, way, size) for way in WAYS for size in sizes]
    trips: list[Trip] = []
    rng, begun, rounds, share = np.random.default_rng(seed), clock(), 0, 0.0
    total = seconds * len(transports)
    while len(lost) < len(transports) and (rounds < LEAST_ROUNDS or share < 1):
        for k in rng.permutation(len(planned)):
            worker, way, size = planned[k]
            if worker in lost:
                continue
            try:
                took = _timed(transports[worker], way, size, clock)
            except Unreachable as error:
                lost[worker] = str(error)
            else:
                trips.append(Trip(worker, way, size, took))
        rounds += 1
        share = (clock() - begun) / total
        on_share(min(share, rounds / LEAST_ROUNDS, 1.0))
    return [trip for trip in trips if trip.worker not in lost], lost


def fit(nbytes: Sequence[int], seconds: Sequence[float]) -> Line:
    """The line of one link from its round trips in one way; some of them are empty.

    Raises:
        ConfigurationError: no trip was empty, or all were.
    """
    from scipy.stats import theilslopes

    sizes, times = np.asarray(nbytes), np.asarray(seconds, np.float64)
    if not (sizes == 0).any() or not sizes.any():
        raise ConfigurationError(
            "a line needs trips of at least two sizes, one of them 0; time some more"
        )
    latency = float(np.median(times[sizes == 0])) / 2
    # Sorted by size, so that an even choice has all of them.
    some = np.argsort(sizes, kind="stable")
    if some.size > PAIRED:
        some = some[np.linspace(0, some.size - 1, PAIRED).round().astype(int)]
    with np.errstate(invalid="ignore"):
        slope, _, low, high = (float(x) for x in theilslopes(times[some], 8.0 * sizes[some]))
    if not low <= high:  # no number: a clock so coarse that times are equal
        low = high = slope
    bound = slope <= 0
    per_bit = max(0.0, high) if bound else slope
    errors = [
        abs(2 * latency + per_bit * 8 * size - middle) / middle
        for size in np.unique(sizes)
        if (middle := float(np.median(times[sizes == size]))) > 0
    ]
    return Line(latency, per_bit, low, high, float(max(errors, default=0.0)), bound)


def _affordable(transport: Transport, most: float, clock: Callable[[], float]) -> list[int]:
    """The sizes, up to the first that takes more than `most` seconds; never fewer than three."""
    sizes: list[int] = []
    for size in SIZES:
        sizes.append(size)
        took = 0.0
        for way in WAYS:
            _timed(transport, way, size, clock)
            took = max(took, _timed(transport, way, size, clock))
        if took > most and len(sizes) >= 3:
            break
    return sizes


def _timed(transport: Transport, way: Way, size: int, clock: Callable[[], float]) -> float:
    """Seconds of one round trip."""
    array = np.full(size, size % 251, np.uint8)
    begun = clock()
    transport(way, array)
    return clock() - begun
