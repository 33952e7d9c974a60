"""A rate that was recorded: samples at irregular times, each of which holds until the next."""

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from dopt.errors import ConfigurationError, DataError
from simulators.rates._base import INFINITE, Rate
from simulators.rates._checks import numbers, positive


ENDS = ("repeat", "hold", "stop")


@dataclass(frozen=True, init=False, repr=False)
class Recorded(Rate):
    """`values[i]` a second from `t[i]` until `t[i + 1]`; zeros are outages.

    The recording begins with its first sample: that is time 0, whatever `t[0]`. Its last sample
    lasts the median of the steps between samples. What comes then is said by `end`:

    | `end` | after the recording |
    |---|---|
    | `"repeat"` | it begins again: the rate is periodic |
    | `"hold"` | the last sample lasts for ever |
    | `"stop"` | nothing passes any more: a link that never recovers |

    With `longest_gap`, no sample lasts longer than so many seconds, and the rest of the time until
    the next one is an outage; a last sample that holds is excepted. A single sample has no step: it
    repeats or holds for ever, and may not stop.

    | field | meaning |
    |---|---|
    | `edges` | where samples and outages begin, and where the last of them ends; seconds from 0 |
    | `values` | the rates between edges |
    | `tail` | the rate after the last edge, or None where the recording begins again |

    Raises:
        ConfigurationError: another `end`, `longest_gap` ≤ 0, a single sample that stops.
        DataError: no sample, not as many times as values, a number that is NaN, infinite or
            negative, times that do not ascend, nothing but zeros.
    """

    edges: tuple[float, ...]
    values: tuple[float, ...]
    tail: float | None
    _passed: tuple[float, ...] = field(compare=False)
    """What has passed at each edge."""

    def __init__(
        self,
        t: Sequence[float | int] | np.ndarray,
        values: Sequence[float | int] | np.ndarray,
        end: str = "repeat",
        longest_gap: float | int | None = None,
    ) -> None:
        if end not in ENDS:
            raise ConfigurationError(f"end = {end!r}; it must be one of {', '.join(ENDS)}")
        starts, rates = _samples(t, values)
        starts = starts - starts[0]
        tail = None if end == "repeat" else 0.0
        if end == "hold":
            edges, rates, tail = starts, rates[:-1], float(rates[-1])
        elif len(starts) > 1:
            edges = np.append(starts, starts[-1] + np.median(np.diff(starts)))
        elif end == "repeat":
            edges = np.array([0.0, 1.0])
        else:
            raise ConfigurationError(
                "a recording of one sample does not say how long it lasts before it stops; "
                "end it with a sample of 0, or choose another end"
            )
        if longest_gap is not None:
            (longest,) = positive(longest_gap=longest_gap)
            edges, rates = _with_outages(edges, rates, longest)
        with np.errstate(over="ignore", under="ignore"):
            passed = np.append(0.0, np.cumsum(rates * np.diff(edges)))
        if not math.isfinite(passed[-1]) or (passed[-1] == 0 and not tail):
            raise DataError(
                f"values up to {rates.max()} a second over {edges[-1]} s sum to {passed[-1]}, "
                "beyond what a double holds; scale them"
            )
        object.__setattr__(self, "edges", tuple(edges.tolist()))
        object.__setattr__(self, "values", tuple(rates.tolist()))
        object.__setattr__(self, "tail", tail)
        object.__setattr__(self, "_passed", tuple(passed.tolist()))

    def at(self, t: float | int) -> float:
        """The sample that holds at time `t`."""
        if self.tail is None:
            t = math.fmod(t, self.edges[-1])
        elif t >= self.edges[-1]:
            return self.tail
        return self.values[bisect_right(self.edges, t) - 1]

    def mean(self) -> float:
        """The average of the recording where it repeats, else the rate after it."""
        return self._passed[-1] / self.edges[-1] if self.tail is None else self.tail

    def to_config(self) -> dict[str, Any]:
        """How many samples there are, how long they last, what follows, and their SHA-256."""
        digest = hashlib.sha256()
        for array in (self.edges, self.values):
            digest.update(np.array(array, "<f8").tobytes())
        return {
            "rate": "recorded",
            "samples": len(self.values),
            "seconds": self.edges[-1],
            "tail": "repeat" if self.tail is None else self.tail,
            "sha256": digest.hexdigest(),
        }

    def __repr__(self) -> str:
        """How many samples, of how many seconds, and what follows."""
        then = "repeated" if self.tail is None else f"then {self.tail:.4g} a second"
        return f"Recorded({len(self.values)} samples, {self.edges[-1]:.6g} s, {then})"

    def _between(self, start: float | int, end: float | int) -> float:
        length, total = self.edges[-1], self._passed[-1]
        if self.tail is None:
            seconds = end - start
            begin, rest = math.fmod(start, length), math.fmod(seconds, length)
            whole = round((seconds - rest) / length) * total
            if begin + rest <= length:
                return whole + self._within(begin, begin + rest)
            return whole + self._within(begin, length) + self._within(0.0, begin + rest - length)
        after = self.tail * (end - max(start, length)) if end > length else 0.0
        return after + self._within(start, min(end, length)) if start < length else after

    def _within(self, start: float | int, end: float | int) -> float:
        """The integral over a part of the recording."""
        edges, values, passed = self.edges, self.values, self._passed
        first = bisect_right(edges, start) - 1
        last = bisect_left(edges, end, first + 1) - 1
        if first == last:
            return values[first] * (end - start)
        head = values[first] * (edges[first + 1] - start)
        tail = values[last] * (end - edges[last])
        return head + (passed[last] - passed[first + 1]) + tail

    def _end(self, start: float | int, amount: float | int) -> float:
        edges, values, passed, tail = self.edges, self.values, self._passed, self.tail
        length = edges[-1]
        if tail is None:
            begin = math.fmod(start, length)
        elif start < length:
            begin = start
        else:
            return start + amount / tail if tail else INFINITE
        now = bisect_right(edges, begin) - 1
        left = values[now] * (edges[now + 1] - begin)
        if amount <= left:
            return start + amount / values[now]
        # The next piece stands by itself: a few bits must not be lost in the sum of all before it.
        rest, then = amount - left, bisect_right(passed, passed[now + 1]) - 1
        remains = rest
        if then < len(values):
            if rest <= values[then] * (edges[then + 1] - edges[then]):
                return start + ((edges[then] - begin) + rest / values[then])
            needed = passed[then] + rest
            if needed <= passed[-1]:
                return start + (self._place(needed, then) - begin)
            remains = needed - passed[-1]
        if tail is not None:
            return length + remains / tail if tail else INFINITE
        part = math.fmod(remains, passed[-1]) or passed[-1]
        whole = round((remains - part) / passed[-1]) + 1
        return start + (whole * length + self._place(part, 0) - begin)

    def _place(self, needed: float, first: int) -> float:
        """The earliest time from edge `first` on, in the recording, when `needed` has passed."""
        edges, passed = self.edges, self._passed
        i = bisect_left(passed, needed, first + 1) - 1
        return min(edges[i] + (needed - passed[i]) / self.values[i], edges[i + 1])


def _samples(
    t: Sequence[float | int] | np.ndarray, values: Sequence[float | int] | np.ndarray
) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
    """The recording as float64, checked."""
    times, rates = numbers("t", t, "seconds"), numbers("values", values, "a rate a second")
    if len(times) != len(rates):
        raise DataError(f"{len(times)} times and {len(rates)} values; give one value for each time")
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        i = int(back[0]) + 1
        raise DataError(
            f"t[{i}] = {times[i]} does not come after t[{i - 1}] = {times[i - 1]}; "
            "sort the samples, and keep one of those with equal times"
        )
    if not rates.any():
        raise DataError(
            f"all {len(rates)} values are zero: nothing would ever pass; leave this recording out"
        )
    return times, rates


def _with_outages(
    edges: Float64[np.ndarray, " M"], rates: Float64[np.ndarray, " N"], longest: float
) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " Q"]]:
    """Edges and rates with a rate of 0 from `longest` seconds after an edge until the next."""
    gaps = np.flatnonzero(np.diff(edges) > longest)
    return (
        np.insert(edges, gaps + 1, edges[gaps] + longest),
        np.insert(rates, gaps + 1, 0.0),
    )
