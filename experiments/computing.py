"""Computing the runs of a batch: the schedule, the replay, and the rows of both tables.

Regimes that only stretch time share their traces: what happens in a run depends on the order of
events alone, so a trace is computed once and given the times of the others.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from dopt.errors import DoptError, NoProgressError
from dopt.replay import Progress, record_steps, replay
from dopt.results import Status, canonical_json, run_id
from dopt.schedule import Arrivals, Listed, Pattern, Repeated, Schedule
from dopt.trace import Trace
from dopt.versions import threads, versions
from experiments.memory import memory, peak_memory
from experiments.study import Batch, Study, run_configs, schedule_of


log = logging.getLogger("dopt")

MOST_MEMORY = 2**30
"""Bytes with which a study of many regimes forgets the programs of the methods before."""


class Computed(NamedTuple):
    """The rows of a batch in both tables, as `Store.write` takes them."""

    runs: list[dict[str, Any]]
    traces: dict[str, np.ndarray]


class Known(NamedTuple):
    """A replayed schedule and its trace, and why it ended early if it did.

    A regime that only stretches time need not repeat it.
    """

    schedule: Schedule
    trace: Trace
    reason: str | None


class Outcome(NamedTuple):
    """What became of a batch."""

    trace: Trace | None
    status: Status
    reason: str | None


class Computing:
    """Computes batches of one study; keeps the traces that the next batch may share."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.known: dict[Any, list[Known]] = {}
        self.label = ""

    def __call__(
        self,
        batch: Batch,
        on_share: Callable[[float], None] = lambda share: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Computed:
        """The rows of all runs of a batch; a batch that cannot run has its reason in them.

        Args:
            batch: the runs.
            on_share: told which share of the batch is computed.
            stopping: asked at record points; then the runs have the status `interrupted`.
        """
        if batch.label != self.label:  # no other method can use these traces
            self.known.clear()
            self.label = batch.label
            if memory() > MOST_MEMORY:
                jax.clear_caches()
        begun = time.monotonic()
        outcome = self._outcome(batch, on_share, stopping)
        return rows(self.study, batch, outcome, time.monotonic() - begun)

    def _outcome(
        self, batch: Batch, on_share: Callable[[float], None], stopping: Callable[[], bool]
    ) -> Outcome:
        """What becomes of a batch; one that cannot run does not stop the others."""
        try:
            return self._trace(batch, on_share, stopping)
        except NoProgressError as error:
            return Outcome(None, Status.NO_PROGRESS, str(error))
        except DoptError as error:
            return Outcome(None, Status.FAILED, str(error))

    def _trace(
        self, batch: Batch, on_share: Callable[[float], None], stopping: Callable[[], bool]
    ) -> Outcome:
        schedule = schedule_of(self.study, batch.regime, batch.variant.method)
        if schedule.K < 1:
            raise NoProgressError(f"{batch.regime.limits} end before the first server step")
        problem = batch.regime.problem
        method = replace(batch.variant.method, step_size=0.0)
        key = (id(problem), method, batch.step_sizes, batch.seeds)
        for known in self.known.get(key, []):
            # A trace that ended early ends there in every regime; a whole one must be long enough.
            K = int(known.trace.step[-1]) if known.reason else schedule.K
            if K <= schedule.K and same_order(known.schedule, schedule, K):
                trace = stretched(known.trace, schedule)
                return Outcome(trace, Status.FINISHED, known.reason)
        won = False

        def on_record(progress: Progress) -> bool:
            nonlocal won
            on_share(progress.done / progress.steps)
            if batch.phase == "tune" and self.study.measure == "grad_norm2":
                reached = (progress.grad_norm2 <= self.study.target).any(-1).mean(0)
                won = bool((reached > 0.5).any())
            return won

        trace = replay(
            problem,
            batch.variant.method,
            schedule,
            step_sizes=batch.step_sizes,
            seeds=batch.seeds,
            records=record_steps(schedule.K, self.study.records),
            on_record=on_record,
            stopping=stopping,
        )
        if trace.step[-1] < schedule.K and not won:
            return Outcome(trace, Status.INTERRUPTED, "stopped on request")
        stuck = schedule.stuck if isinstance(schedule, Listed) else None
        if stuck is not None and not won:
            return Outcome(trace, Status.NO_PROGRESS, stuck)
        early = "tuning ended when a step size had reached the target" if won else None
        self.known.setdefault(key, []).append(Known(schedule, trace, early))
        return Outcome(trace, Status.FINISHED, early)


def rows(study: Study, batch: Batch, outcome: Outcome, seconds: float) -> Computed:
    """The rows of a batch; those of one seed are next to each other, in the grid's order."""
    configs = run_configs(study, batch)
    shape = (len(batch.seeds), len(batch.step_sizes))
    places = [(int(r), int(g)) for r, g in np.ndindex(shape)]
    computed_by = versions() | {"threads": str(threads())}
    runs: list[dict[str, Any]] = []
    for config, place in zip(configs, places, strict=True):
        status, reason = _status(study, outcome, *place)
        runs.append(
            {
                "run_id": run_id(config),
                **{k: config[k] for k in ("study", "regime", "method", "variant", "phase")},
                "compressor": batch.variant.method.compressor.name,
                "problem": batch.regime.problem_config["name"],
                "cluster": batch.regime.cluster.describe(),
                **{k: config[k] for k in ("step_size", "theory_step_size", "factor")},
                **{k: config[k] for k in ("timeline_seed", "data_seed")},
                "status": str(status),
                "reason": reason,
                "seconds": seconds / len(configs),
                "peak_memory": peak_memory(),
                "versions": json.dumps(computed_by, sort_keys=True),
                "device": jax.devices()[0].device_kind,
                "config": canonical_json(config),
            }
        )
    ids = [run["run_id"] for run in runs]
    return Computed(runs, _columns(ids, places, outcome.trace))


def batch_name(phase: str, found: Computed) -> str:
    """What a batch is called in its folder: its phase and a digest of its runs."""
    ids = "".join(run["run_id"] for run in found.runs)
    return f"{phase}-{hashlib.sha256(ids.encode()).hexdigest()[:16]}"


def _status(study: Study, outcome: Outcome, r: int, g: int) -> tuple[Status, str | None]:
    """The status of one run of a batch."""
    if outcome.trace is None or outcome.status is Status.INTERRUPTED:
        return outcome.status, outcome.reason
    if (getattr(outcome.trace, study.measure)[r, g] <= study.target).any():
        return Status.TARGET_REACHED, None
    status = outcome.trace.status()[r, g]
    if status is Status.FINISHED:
        return outcome.status, outcome.reason
    return status, "‖∇f(x)‖² is not finite"


SHARED = ("time", "step", "gradients", "bits_up", "bits_down")
"""What a trace counts once for all of its runs."""

MEASURES = ("value", "gap", "grad_norm2", "accuracy")
"""What a trace measures, for each of its runs."""


def _columns(
    ids: Sequence[str], places: Sequence[tuple[int, int]], trace: Trace | None
) -> dict[str, np.ndarray]:
    """The columns of the table of traces; nothing without a trace."""
    runs = len(ids) if trace is not None else 0
    M = len(trace.step) if trace is not None else 0
    found: dict[str, np.ndarray] = {
        "run_id": np.repeat(np.asarray(ids, str), M),
        "record": np.tile(np.arange(M), runs),
    }
    for name in SHARED:
        values = getattr(trace, name) if trace is not None else np.zeros(0)
        found[name] = np.tile(values, runs)
    for name in MEASURES:
        values = getattr(trace, name) if trace is not None else np.zeros((0, 0, 0))
        found[name] = np.concatenate([values[r, g] for r, g in places[:runs]] or [np.zeros(0)])
    return found


def same_order(known: Schedule, new: Schedule, K: int) -> bool:
    """Whether the first `K` steps of both do the same work in the same order, at whatever times.

    Then the trace of `known` serves: what happens depends on the order alone.
    """
    if type(known) is not type(new) or min(known.K, new.K) < K:
        return False
    if isinstance(known, Repeated) and isinstance(new, Repeated):
        patterns = zip(known.patterns, new.patterns, strict=True)
        return np.array_equal(known.which[:K], new.which[:K]) and all(
            _same_rows(left, right) for left, right in patterns
        )
    if isinstance(known, Listed) and isinstance(new, Listed):
        known, new = known.until(K), new.until(K)
        budgets = np.array_equal(known.steps.budget, new.steps.budget)
        return budgets and _same_rows(known.arrivals, new.arrivals)
    return False


def _same_rows(left: Arrivals | Pattern, right: Arrivals | Pattern) -> bool:
    columns = zip(left._asdict().values(), right._asdict().values(), strict=True)
    return all(np.array_equal(a, b) for a, b in columns)


def stretched(trace: Trace, schedule: Schedule) -> Trace:
    """The beginning of a trace with the times and totals of another schedule of the same order."""
    kept = trace.step <= schedule.K
    step, totals = trace.step[kept], schedule.steps
    return replace(
        trace,
        time=schedule.time[step],
        step=step,
        gradients=totals.gradients[step],
        bits_up=totals.bits_up[step],
        bits_down=totals.bits_down[step],
        **{name: getattr(trace, name)[..., kept] for name in MEASURES},
    )
