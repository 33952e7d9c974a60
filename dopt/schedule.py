"""What happened when, without what it computed: the meeting place of simulation and optimization.

A schedule is made by a timeline (`simulators`) or recorded from live workers, and replayed by
`dopt.replay`. It holds which arrivals every server step uses and what had been spent by then.
Server step k (k = 0, 1, ...) turns model version k into version k + 1.

Two forms: `Listed` holds every arrival; `Repeated` holds one round that the same workers repeat,
so that 10^4 rounds of 10^4 workers need no 10^8 rows. `Repeated.listed()` writes them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Arrivals(NamedTuple):
    """One row an arrival at the server, in the order in which they are counted.

    `job` is the worker's own count of jobs (it names the randomness), `version` the model it read,
    `gradients` b and `messages` m what was computed and sent, `phase` which of the method's kinds
    of work it was, `budget` the bits that its message may have where the method chooses its size
    (else 0), `weight` its weight in the sum of server step `step`. A row of weight 0 is one that
    the server discards.
    """

    worker: npt.NDArray[np.int32]
    job: npt.NDArray[np.int32]
    version: npt.NDArray[np.int64]
    gradients: npt.NDArray[np.int64]
    messages: npt.NDArray[np.int64]
    dense: npt.NDArray[np.bool_]
    phase: npt.NDArray[np.int8]
    budget: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    step: npt.NDArray[np.int64]

    def rows(self, which: slice | npt.NDArray) -> "Arrivals":
        """The chosen rows."""
        return Arrivals._make(column[which] for column in self)


_TYPES = (
    *(np.int32, np.int32, np.int64, np.int64, np.int64),
    *(np.bool_, np.int8, np.int64, np.float64, np.int64),
)
"""The types of the columns of `Arrivals`."""


class Steps(NamedTuple):
    """One row a server step and a row 0 for the start: totals over all workers up to then.

    `tick` counts the schedule's ticks; gradients and bits include those of discarded arrivals.
    `budget` is that of what the server sends out after the step, where the method chooses its size
    (else 0); it is no total.
    """

    tick: npt.NDArray[np.int64]
    gradients: npt.NDArray[np.int64]
    bits_up: npt.NDArray[np.int64]
    bits_down: npt.NDArray[np.int64]
    budget: npt.NDArray[np.int64]


class Pattern(NamedTuple):
    """The work of one round: `worker[j]` computes b, sends m messages, counts with a weight.

    `bits` of one message and of the `download` are the same for all; `None` is what `Costs` says.
    """

    worker: npt.NDArray[np.int32]
    gradients: npt.NDArray[np.int64]
    messages: npt.NDArray[np.int64]
    dense: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]
    bits: int | None = None
    download: int | None = None

    def rows(self, which: npt.NDArray) -> "Pattern":
        """The chosen rows."""
        columns = {name: getattr(self, name)[which] for name in self._fields[:5]}
        return self._replace(**columns)


@dataclass(frozen=True, eq=False)
class Listed:
    """A schedule as a list of its arrivals, sorted by the step that counts them.

    `tick` is the length of a tick in seconds, `n` the number of workers of the cluster; `stuck`
    says why no further step can ever come, where that is why the schedule ends.
    """

    n: int
    tick: float
    steps: Steps
    arrivals: Arrivals
    stuck: str | None = None

    @property
    def K(self) -> int:
        """Number of server steps."""
        return len(self.steps.tick) - 1

    @property
    def time(self) -> npt.NDArray[np.float64]:
        """Virtual seconds at the start and at each server step, length K + 1."""
        return self.steps.tick * np.float64(self.tick)

    @classmethod
    def recorded(
        cls, n: int, tick: float, rows: Sequence[Sequence], moves: Sequence[Sequence[int]]
    ) -> "Listed":
        """The schedule of a run that kept a row an arrival and a row of `Steps` a server step."""
        columns = zip(*rows, strict=True) if rows else [[]] * len(_TYPES)
        arrivals = Arrivals._make(np.array(c, t) for c, t in zip(columns, _TYPES, strict=True))
        totals = np.array([(0,) * len(Steps._fields), *moves], np.int64)
        return cls(n, tick, Steps(*totals.T), arrivals)

    def pruned(self) -> "Listed":
        """The same schedule without the arrivals that no step uses; their cost stays in `steps`.

        Only for methods that keep no state on the worker: elsewhere a discarded message has
        already changed its sender.
        """
        return replace(self, arrivals=self.arrivals.rows(self.arrivals.weight != 0))

    def until(self, K: int) -> "Listed":
        """The first `K` server steps."""
        steps = Steps._make(column[: K + 1] for column in self.steps)
        stuck = self.stuck if K >= self.K else None
        rows = self.arrivals.rows(self.arrivals.step < K)
        return replace(self, steps=steps, arrivals=rows, stuck=stuck)


@dataclass(frozen=True, eq=False)
class Repeated:
    """A schedule of rounds: in step k the workers of `patterns[which[k]]` all do their k-th job.

    Every pattern has the same workers, and all of them read version k. The place of a pattern is
    the phase of its jobs.
    """

    n: int
    tick: float
    steps: Steps
    patterns: tuple[Pattern, ...]
    which: npt.NDArray[np.int8]

    @property
    def K(self) -> int:
        """Number of server steps."""
        return len(self.steps.tick) - 1

    @property
    def time(self) -> npt.NDArray[np.float64]:
        """Virtual seconds at the start and at each server step, length K + 1."""
        return self.steps.tick * np.float64(self.tick)

    def until(self, K: int) -> "Repeated":
        """The first `K` server steps."""
        steps = Steps._make(column[: K + 1] for column in self.steps)
        return replace(self, steps=steps, which=self.which[:K])

    def listed(self) -> Listed:
        """The same schedule with every arrival written out, workers in the pattern's order."""
        P = len(self.patterns[0].worker)
        columns = zip(*(pattern[:5] for pattern in self.patterns), strict=True)
        stacked = [np.stack(same) for same in columns]
        worker, gradients, messages, dense, weight = (c[self.which].reshape(-1) for c in stacked)
        step, phase = np.repeat(np.arange(self.K), P), np.repeat(self.which, P)
        job, budget = step.astype(np.int32), np.zeros_like(step)
        arrivals = Arrivals(
            worker, job, step, gradients, messages, dense, phase, budget, weight, step
        )
        return Listed(self.n, self.tick, self.steps, arrivals)


Schedule = Listed | Repeated
