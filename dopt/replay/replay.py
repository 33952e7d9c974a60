"""Replaying a schedule: from when to what."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import psutil
from jaxtyping import Array, Float

from dopt.errors import ConfigurationError
from dopt.methods import Method
from dopt.problems import Problem
from dopt.replay.feeds import By, Feed, Feeder, choose
from dopt.replay.loop import advance, begin, measure, start
from dopt.replay.plain import check_workers
from dopt.schedule import Listed, Repeated, Schedule
from dopt.trace import Trace


RECORDS_PER_OCTAVE = 32
PIECE_SECONDS, GROWTH = 0.5, 16
BLOCK_BYTES = 2**21
"""Vectors that are alive side by side within one turn, in bytes: about a core's own cache."""
OWN_DATA = 4
"""Times more where workers have data of their own: those of all are read as they lie, those of some
are copied first."""


class Progress(NamedTuple):
    """Where a replay is, given to `on_record`: `done` of `steps` server steps of one pass."""

    done: int
    steps: int
    grad_norm2: npt.NDArray[np.float64]


def record_steps(K: int, per_octave: int = RECORDS_PER_OCTAVE) -> npt.NDArray[np.int64]:
    """Server steps at which to measure: every one at first, then `per_octave` in each doubling.

    A longer run records at the same steps and more; the gaps are powers of two.
    """
    steps, k = [0], 0
    while k < K:
        k += max(1, 2 ** (max(k, 1).bit_length() - 1) // per_octave)
        steps.append(min(k, K))
    return np.array(steps, np.int64)


def run_bytes(problem: Problem, method: Method, schedule: Schedule, slots: int) -> int:
    """Bytes that one run (one seed, one step size) carries from turn to turn."""
    x = jax.ShapeDtypeStruct((problem.d,), problem.dtype)
    carry = jax.eval_shape(lambda x: begin(method, x, schedule.n, slots), x)
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(carry))


def _memory() -> int:
    """Bytes of memory that this machine can give without swapping."""
    return int(psutil.virtual_memory().available)


def _passes(
    seeds: npt.NDArray, step_sizes: npt.NDArray, each: int, memory: int
) -> Iterator[tuple[slice, slice]]:
    """Blocks of seeds × step sizes whose carried state fits into memory (twice, for copies)."""
    fit = memory // (2 * each)
    if fit < 1:
        raise ConfigurationError(
            f"one run carries {each / 2**30:.2f} GiB and needs twice that, but "
            f"{memory / 2**30:.2f} GiB are free; lower d or the number of workers that keep state"
        )
    G = min(len(step_sizes), fit)
    R = max(1, min(len(seeds), fit // G))
    for r in range(0, len(seeds), R):
        for g in range(0, len(step_sizes), G):
            yield slice(r, r + R), slice(g, g + G)


def replay(
    problem: Problem,
    method: Method,
    schedule: Schedule,
    *,
    x0: Float[Array, " d"] | None = None,
    step_sizes: Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
    records: npt.NDArray[np.int64] | None = None,
    by: By | Literal["auto"] = "auto",
    on_record: Callable[[Progress], bool] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Trace:
    """Runs a method along a schedule, for all step sizes and data seeds at once.

    Args:
        problem: what is minimized.
        method: the method whose policy made the schedule.
        schedule: from `simulators.timeline`, or recorded live.
        x0: the starting point; the problem's own by default.
        step_sizes: the grid (G,); the method's own step size by default.
        seeds: data seeds (R,) that decide gradients and compressors.
        records: server steps at which to measure, increasing from 0; `record_steps` by default.
        by: by rounds where every server step reads one version, by events for any schedule.
        on_record: called after every record; returning True ends all runs there.
        stopping: asked about twice a second; True ends all runs at the last record.

    Returns:
        The trace; every number in it is float64 on the host.

    Raises:
        ConfigurationError: no server step, another number of workers than the problem has, a bad
            step size, record or x0, no run, or one run does not fit into memory.
        UnsupportedError: `by` is "rounds" and the schedule has none.
    """
    if schedule.K < 1:
        raise ConfigurationError(
            "the schedule has no server step: its limit ends before the first one; raise it"
        )
    check_workers(problem, schedule.n)
    sizes = np.atleast_1d(np.asarray(method.step_size if step_sizes is None else step_sizes, float))
    if not np.all(np.isfinite(sizes) & (sizes > 0)):
        raise ConfigurationError(f"step sizes must be positive and finite, got {sizes.tolist()}")
    data_seeds = np.asarray(seeds, np.int64)
    if not sizes.size or not data_seeds.size:
        raise ConfigurationError(
            f"{sizes.size} step sizes and {data_seeds.size} seeds are no run; give one of each"
        )
    steps = record_steps(schedule.K) if records is None else records
    if not len(steps) or steps[0] != 0 or np.any(np.diff(steps) <= 0) or steps[-1] > schedule.K:
        raise ConfigurationError(
            f"records must increase from 0 to at most K = {schedule.K}, got {steps.tolist()}"
        )
    if isinstance(schedule, Repeated) and by == "events":
        schedule = schedule.listed()
    if isinstance(schedule, Listed) and not method.stateful:
        schedule = schedule.pruned()
    first = problem.start() if x0 is None else jnp.asarray(x0, problem.dtype)
    if first.shape != (problem.d,):
        raise ConfigurationError(f"x0 has shape {first.shape}; a model is flat, of d = {problem.d}")
    feeder = Feeder(schedule, method.reads, choose(schedule, method.stateful, by))
    each = run_bytes(problem, method, schedule, feeder.slots)
    value = np.full((len(data_seeds), len(sizes), len(steps)), np.nan)
    norm2, accuracy = value.copy(), value.copy()
    x = np.zeros((*value.shape[:2], problem.d), first.dtype)
    for r, g in _passes(data_seeds, sizes, each, _memory()):
        runner = _Pass(problem, method, feeder, first, sizes[g], data_seeds[r])
        for m, measured in enumerate(runner.run(steps, stopping)):
            value[r, g, m], norm2[r, g, m], accuracy[r, g, m] = measured
            progress = Progress(int(steps[m]), int(steps[-1]), norm2[r, g, : m + 1])
            if on_record is not None and on_record(progress):
                break
        steps = steps[: m + 1]
        x[r, g] = np.asarray(runner.x)
    # A model beyond the range of floats stays there: what it measures afterwards is no progress.
    lost = np.logical_or.accumulate(~(np.isfinite(value) & np.isfinite(norm2)), axis=-1)
    value[lost] = norm2[lost] = accuracy[lost] = np.nan
    f_star = problem.f_star
    totals = schedule.steps
    return Trace(
        seeds=data_seeds,
        step_sizes=sizes,
        time=schedule.time[steps],
        step=steps,
        gradients=totals.gradients[steps],
        bits_up=totals.bits_up[steps],
        bits_down=totals.bits_down[steps],
        value=value[..., : len(steps)],
        gap=value[..., : len(steps)] - (np.nan if f_star is None else f_star.value),
        grad_norm2=norm2[..., : len(steps)],
        accuracy=accuracy[..., : len(steps)],
        x=x,
    )


class _Pass:
    """One block of seeds × step sizes, run together."""

    def __init__(
        self,
        problem: Problem,
        method: Method,
        feeder: Feeder,
        x: Float[Array, " d"],
        step_sizes: npt.NDArray,
        seeds: npt.NDArray,
    ) -> None:
        self.problem, self.feeder, self.piece = problem, feeder, 1
        self.sizes = jnp.asarray(step_sizes, x.dtype)
        self.method = replace(method.computing(), step_size=self.sizes[0])
        self.keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        lanes = len(seeds) * len(step_sizes)
        room = BLOCK_BYTES if problem.n is None else OWN_DATA * BLOCK_BYTES
        self.block = max(1, room // (lanes * x.size * x.dtype.itemsize))
        self.carry = start(
            self.method,
            self.sizes,
            x,
            seeds=len(seeds),
            n=feeder.schedule.n,
            slots=feeder.slots,
        )

    def run(
        self, steps: npt.NDArray[np.int64], stopping: Callable[[], bool]
    ) -> Iterator[tuple[npt.NDArray, ...]]:
        """Yields f, ‖∇f‖² and accuracy of every run at each record, until it is asked to stop."""
        yield self._measured()
        spans = list(zip(steps[:-1].tolist(), steps[1:].tolist(), strict=True))
        turns = [self.feeder.turns(*span) for span in spans]
        length = max(turns, default=1)
        for span, count in zip(spans, turns, strict=True):
            feed, done = self.feeder.feed(*span, length), 0
            while done < count:
                if stopping():
                    return
                done = self._advance(feed, done, count)
            yield self._measured()

    def _advance(self, feed: Feed, done: int, count: int) -> int:
        """As many turns as take about half a second, so that a request to stop is soon heard."""
        upto, begun = min(count, done + self.piece), time.monotonic()
        self.carry = advance(
            self.problem,
            self.method,
            self.sizes,
            self.keys,
            self.carry,
            feed,
            jnp.asarray(done, jnp.int32),
            jnp.asarray(upto, jnp.int32),
            block=self.block,
        )
        jax.block_until_ready(self.carry)
        seconds = max(time.monotonic() - begun, 1e-6)
        if seconds > PIECE_SECONDS:
            self.piece = max(1, self.piece // 2)
        elif upto - done == self.piece:
            self.piece *= max(1, min(GROWTH, int(PIECE_SECONDS / 2 / seconds)))
        return upto

    @property
    def x(self) -> Float[Array, "R G d"]:
        """The models."""
        return self.carry.server.x.reshape(len(self.keys), len(self.sizes), -1)

    def _measured(self) -> tuple[npt.NDArray, ...]:
        return tuple(np.asarray(column, float) for column in measure(self.problem, self.x))
