"""From a schedule to what the compiled loop reads: jobs grouped by kind, steps cut into chunks.

A *kind* is what fixes shapes: the phase, dense or compressed, a power of four above b, one message
or many. Few kinds, since each costs a compilation; several, since jobs are padded to the bounds of
their kind. A *turn* of the loop is a server step (`rounds`: all its arrivals read one version and
are computed side by side) or a single arrival (`events`: for any schedule).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Bool, Int

from dopt.errors import ConfigurationError, UnsupportedError
from dopt.methods import Job
from dopt.replay.slots import allocate
from dopt.schedule import Arrivals, Listed, Pattern, Repeated


By = Literal["rounds", "events"]


class Turn(NamedTuple):
    """One turn of the loop.

    `batches` pairs each batch of jobs with whether it is there in this turn; `reads` and `write`
    are slots of models; `version` is the one that is read, `k` the server step; `moves` says
    whether the server moves at the end, `None` that it always does. `budget` is that of what it
    sends out then.
    """

    batches: Sequence[tuple[Job, Bool[Array, ""] | None]]
    reads: Sequence[Int[Array, ""]]
    write: Int[Array, ""]
    version: Int[Array, ""]
    k: Int[Array, ""]
    moves: Bool[Array, ""] | None
    phase: Int[Array, ""]
    budget: Int[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ListedFeed:
    """Turns written out: every array has the turn as its leading axis."""

    jobs: tuple[Job, ...]
    present: tuple[Bool[Array, " S"], ...]
    reads: Int[Array, "S reads"]
    write: Int[Array, " S"]
    version: Int[Array, " S"]
    k: Int[Array, " S"]
    moves: Bool[Array, " S"]
    phase: Int[Array, " S"]
    budget: Int[Array, " S"]
    by: By = field(metadata={"static": True})

    def turn(self, i: Int[Array, ""]) -> Turn:
        """Turn `i` of the chunk."""
        batches = [
            (jax.tree.map(lambda a: a[i], jobs), present[i] if len(self.jobs) > 1 else None)
            for jobs, present in zip(self.jobs, self.present, strict=True)
        ]
        reads = [self.reads[i, back] for back in range(self.reads.shape[1])]
        moves = None if self.by == "rounds" else self.moves[i]
        columns = (self.write, self.version, self.k)
        write, version, k = (column[i] for column in columns)
        return Turn(batches, reads, write, version, k, moves, self.phase[i], self.budget[i])


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class RepeatedFeed:
    """Turns of rounds that the same workers repeat: jobs are held once, not once a turn."""

    jobs: tuple[Job, ...]
    which: Int[Array, " S"]
    first: Int[Array, ""]
    patterns: tuple[int, ...] = field(metadata={"static": True})
    reads: int = field(metadata={"static": True})

    def turn(self, i: Int[Array, ""]) -> Turn:
        """Turn `i` of the chunk: server step `first + i`."""
        k, which = self.first + i, self.which[i]
        one = len(set(self.patterns)) == 1
        batches = [
            (replace(jobs, job=jnp.full_like(jobs.worker, k)), None if one else which == pattern)
            for jobs, pattern in zip(self.jobs, self.patterns, strict=True)
        ]
        reads = [jnp.maximum(k - back, 0) % self.reads for back in range(self.reads)]
        budget = jnp.zeros_like(k)
        return Turn(batches, reads, (k + 1) % self.reads, k, k, None, which, budget)


Feed = ListedFeed | RepeatedFeed


Kind = tuple[bool, int, int, int]
"""dense, phase, most_gradients, most_messages."""


def _kinds(
    rows: Arrivals | Pattern, phase: npt.NDArray[np.int8] | int
) -> tuple[list[Kind], npt.NDArray[np.int64]]:
    """The kinds that occur, and the kind of every row."""
    if len(rows.gradients) and rows.gradients.max() >= 2**30:
        raise ConfigurationError(
            f"a job of {rows.gradients.max()} gradients is too large to replay (at most 2^30); "
            "raise h of the fastest workers, or lower the noise ratio"
        )
    dense = rows.dense | (rows.messages == 0)
    # 0 for no gradient, else 1 + e where 4^e is the bound.
    power = 1 + np.ceil(np.log2(np.maximum(rows.gradients, 1)) / 2).astype(np.int64)
    power = np.where(rows.gradients == 0, 0, power)
    messages = np.where(dense | (rows.messages == 1), 1, rows.messages.max(initial=1))
    # One number a row: a sort of numbers is many times as fast as one of rows.
    number = ((power << 31 | messages) << 1 | dense) << 8 | phase
    kinds, index = np.unique(number, return_inverse=True)
    return [_kind(int(number)) for number in kinds], index


def _kind(number: int) -> Kind:
    rest, phase = divmod(number, 1 << 8)
    power, messages = divmod(rest >> 1, 1 << 31)
    return bool(rest & 1), phase, 4 ** (power - 1) if power else 0, messages


def _jobs(rows: Arrivals | Pattern, kind: Kind, place: tuple, shape: tuple, n: int) -> Job:
    """Jobs of one kind in a table; empty cells have worker `n`, which nothing writes to."""
    nothing = np.zeros_like(rows.worker)
    job, budget = (rows.job, rows.budget) if isinstance(rows, Arrivals) else (nothing, nothing)

    def table(column: npt.NDArray, fill: int) -> Array:
        dtype = np.int32 if column.dtype.kind == "i" else column.dtype
        cells = np.full(shape, fill, dtype)
        cells[place] = column
        return jnp.asarray(cells)

    return Job(
        table(rows.worker, n),
        table(job, 0),
        table(rows.gradients, 1),
        table(rows.messages, 1),
        table(budget, 0),
        table(rows.weight, 0),
        n,
        *kind,
    )


class Feeder:
    """Cuts a schedule into feeds of equal shape."""

    def __init__(self, schedule: Listed | Repeated, reads: int, by: By) -> None:
        self.schedule, self.reads, self.by = schedule, reads, by
        if isinstance(schedule, Repeated):
            self.slots = reads
            self._repeated(schedule)
        else:
            self._listed(schedule)

    def _repeated(self, schedule: Repeated) -> None:
        jobs, patterns = [], []
        for index, pattern in enumerate(schedule.patterns):
            kinds, kind = _kinds(pattern, index)
            for k, what in enumerate(kinds):
                # Jobs of like size next to each other: a block takes as long as its largest.
                mine = np.flatnonzero(kind == k)
                mine = mine[np.lexsort((pattern.gradients[mine], pattern.messages[mine]))]
                rows = pattern.rows(mine)
                place = (np.arange(len(rows.worker)),)
                jobs.append(_jobs(rows, what, place, rows.worker.shape, schedule.n))
                patterns.append(index)
        self.jobs, self.patterns = tuple(jobs), tuple(patterns)

    def _listed(self, schedule: Listed) -> None:
        a = schedule.arrivals
        slots = allocate(a.step, a.version, schedule.K, self.reads)
        self.slots, self.slot = slots.count, slots.slot
        self.kinds, self.kind = _kinds(a, a.phase)
        self.row = np.searchsorted(a.step, np.arange(schedule.K + 1))
        if np.any(np.diff(self.row) == 0):
            raise UnsupportedError("a server step without arrivals cannot be replayed")
        self.widths = [1] * len(self.kinds)
        if self.by == "rounds":
            counts = [np.bincount(a.step[self.kind == k]) for k in range(len(self.kinds))]
            self.widths = [int(count.max()) for count in counts]

    def turns(self, first: int, last: int) -> int:
        """Turns of the server steps `first` to `last`."""
        if self.by == "events" and isinstance(self.schedule, Listed):
            return int(self.row[last] - self.row[first])
        return last - first

    def feed(self, first: int, last: int, length: int) -> Feed:
        """The turns of the server steps `first` to `last`, padded to `length` turns."""
        if isinstance(self.schedule, Repeated):
            which = np.zeros(length, np.int32)
            which[: last - first] = self.schedule.which[first:last]
            return RepeatedFeed(
                self.jobs,
                jnp.asarray(which),
                jnp.asarray(first, jnp.int32),
                self.patterns,
                self.reads,
            )
        rows = slice(int(self.row[first]), int(self.row[last]))
        a, kind = self.schedule.arrivals.rows(rows), self.kind[rows]
        turn = a.step - first if self.by == "rounds" else np.arange(len(a.step))
        jobs, present = [], []
        for k, (what, width) in enumerate(zip(self.kinds, self.widths, strict=True)):
            mine = np.flatnonzero(kind == k)
            place = (turn[mine], np.arange(len(mine)) - np.searchsorted(turn[mine], turn[mine]))
            jobs.append(_jobs(a.rows(mine), what, place, (length, width), self.schedule.n))
            present.append(jnp.asarray(np.isin(np.arange(length), turn[mine])))

        def column(values: npt.NDArray) -> Array:
            padded = np.zeros((length, *values.shape[1:]), values.dtype)
            padded[turn] = values
            return jnp.asarray(padded)

        back = np.maximum(a.version[:, None] - np.arange(self.reads), 0)
        return ListedFeed(
            tuple(jobs),
            tuple(present),
            reads=column(self.slot[back]),
            write=column(self.slot[a.step + 1]),
            version=column(a.version.astype(np.int32)),
            k=column(a.step.astype(np.int32)),
            moves=column(np.diff(a.step, append=last) > 0),
            phase=column(a.phase.astype(np.int32)),
            budget=column(self.schedule.steps.budget[a.step + 1].astype(np.int32)),
            by=self.by,
        )


def choose(schedule: Listed | Repeated, stateful: bool, by: By | Literal["auto"]) -> By:
    """How to replay: by rounds where every step reads one version, else by events.

    Raises:
        UnsupportedError: rounds were asked for and the schedule has none.
    """
    if isinstance(schedule, Repeated):
        return "rounds"
    a = schedule.arrivals
    same = np.diff(a.step) == 0
    mixed = bool(np.any(np.diff(a.version)[same]))
    order = np.lexsort((a.worker, a.step))
    twice = (np.diff(a.worker[order]) == 0) & (np.diff(a.step[order]) == 0)
    if not mixed and not (stateful and np.any(twice)):
        return "rounds" if by == "auto" else by
    if by == "rounds":
        raise UnsupportedError(
            "by='rounds' needs steps whose arrivals read one version (and, where workers keep "
            "state, come from different workers); this schedule has others: use by='events'"
        )
    return "events"
