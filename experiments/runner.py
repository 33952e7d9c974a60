"""Running a study: tune, choose, report; kept batch by batch, so that nothing finished is lost."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from dopt.errors import DataError, DoptError, InterruptedRunError, NoProgressError
from dopt.replay import Progress, record_steps, replay
from dopt.results import Status, canonical_json, run_id
from dopt.results.read import load
from dopt.results.store import Store
from dopt.schedule import Arrivals, Listed, Pattern, Repeated, Schedule
from dopt.trace import Trace
from dopt.versions import versions
from experiments.memory import memory, peak_memory
from experiments.study import (
    Batch,
    Study,
    check_kept,
    entries,
    run_configs,
    schedule_of,
    tuning,
)


log = logging.getLogger("dopt")

MOST_MEMORY = 2**30
"""Bytes with which a study of many regimes forgets the programs of the methods before."""

NOTHING = pd.DataFrame()
"""The tables of a study that tunes nothing, before its reports."""


class Advance(NamedTuple):
    """Where a study is, for a progress bar: `share` of batch `done` of `batches` is computed."""

    done: int
    batches: int
    share: float
    what: str


class Known(NamedTuple):
    """A replayed schedule and its trace, and why it ended early if it did.

    A regime that only stretches time need not repeat it.
    """

    schedule: Schedule
    trace: Trace
    reason: str | None


class Runner:
    """One study being run into one results folder."""

    def __init__(
        self,
        study: Study,
        store: Store,
        on_advance: Callable[[Advance], None],
        stopping: Callable[[], bool],
    ) -> None:
        self.study, self.store = study, store
        self.on_advance, self.stopping = on_advance, stopping
        self.known: dict[Any, list[Known]] = {}
        self.label = ""
        self.done = 0
        self.batches = len(tuning(study)) + len(entries(study))

    def run(self) -> None:
        """Tunes, then reports. What is already in the folder is not run again.

        Raises:
            ConfigurationError: the folder holds runs that are not of this study.
            InterruptedRunError: it was asked to stop; what was finished is in the folder.
        """
        self._check_folder()
        try:
            for batch in tuning(self.study):
                self._batch(batch)
            for batch in self._reports():
                self._batch(batch)
        finally:
            self.store.merge()

    def _check_folder(self) -> None:
        """Refuses a folder with runs that this study would not make."""
        try:
            configs = load(self.store.folder)[0]["config"]
        except DataError:
            return
        check_kept(self.study, [json.loads(config) for config in configs], self.store.folder)

    def _reports(self) -> list[Batch]:
        """One batch for each regime and entry: its best variant and step size, other seeds."""
        study = self.study
        runs, traces = load(self.store.folder) if tuning(study) else (NOTHING, NOTHING)
        batches = []
        for regime, entry in entries(study):
            chosen = study.choice(regime, entry, runs, traces)
            if chosen is None:
                self.done += 1
                continue
            (variant,) = (v for v in entry.variants if v.name == chosen.variant)
            factors, seeds = (chosen.factor,), study.report_seeds
            batches.append(Batch(regime, entry.label, variant, "report", factors, seeds))
        return batches

    def _batch(self, batch: Batch) -> None:
        """Runs what is missing of one batch and keeps it."""
        what = f"{batch.regime.name}: {batch.label} ({batch.variant.name}), {batch.phase}"
        self.on_advance(Advance(self.done, self.batches, 0.0, what))
        if batch.label != self.label:  # no other method can use these traces
            self.known.clear()
            self.label = batch.label
            if memory() > MOST_MEMORY:
                jax.clear_caches()
        configs = run_configs(self.study, batch)
        missing = self._missing(configs)
        if missing and batch.phase == "report":
            # Other seeds were reported before; tuning ends by what all of its runs do.
            batch = batch._replace(seeds=tuple(config["data_seed"] for config in missing))
            configs = missing
        if missing:
            begun = time.monotonic()
            outcome = self._replay(batch, what)
            self._keep(batch, configs, outcome, time.monotonic() - begun)
        self.done += 1
        if self.stopping():
            raise InterruptedRunError("stopped on request; the same command goes on from here")

    def _missing(self, configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The runs that are not in the folder yet."""
        finished = self.store.finished()
        return [config for config in configs if run_id(config) not in finished]

    def _replay(self, batch: Batch, what: str) -> "Outcome":
        """What becomes of a batch; one that cannot run does not stop the others."""
        try:
            return self._trace(batch, what)
        except NoProgressError as error:
            return Outcome(None, Status.NO_PROGRESS, str(error))
        except DoptError as error:
            log.warning("%s failed: %s", what, error)
            return Outcome(None, Status.FAILED, str(error))

    def _trace(self, batch: Batch, what: str) -> "Outcome":
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
            share = progress.done / progress.steps
            self.on_advance(Advance(self.done, self.batches, share, what))
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
            stopping=self.stopping,
        )
        if trace.step[-1] < schedule.K and not won:
            return Outcome(trace, Status.INTERRUPTED, "stopped on request")
        stuck = schedule.stuck if isinstance(schedule, Listed) else None
        if stuck is not None and not won:
            return Outcome(trace, Status.NO_PROGRESS, stuck)
        early = "tuning ended when a step size had reached the target" if won else None
        self.known.setdefault(key, []).append(Known(schedule, trace, early))
        return Outcome(trace, Status.FINISHED, early)

    def _keep(
        self,
        batch: Batch,
        configs: Sequence[dict[str, Any]],
        outcome: "Outcome",
        seconds: float,
    ) -> None:
        """Writes the batch; rows of one seed are next to each other, in the grid's order."""
        shape = (len(batch.seeds), len(batch.step_sizes))
        ids = [run_id(config) for config in configs]
        runs: list[dict[str, Any]] = []
        columns: dict[str, list] = {name: [] for name in TRACE_COLUMNS}
        for index, (config, name) in enumerate(zip(configs, ids, strict=True)):
            r, g = np.unravel_index(index, shape)
            status, reason = self._status(outcome, int(r), int(g))
            runs.append(
                {
                    "run_id": name,
                    **{k: config[k] for k in ("study", "regime", "method", "variant", "phase")},
                    "compressor": batch.variant.method.compressor.name,
                    "problem": batch.regime.problem_config["name"],
                    "cluster": batch.regime.cluster.describe(),
                    **{k: config[k] for k in ("step_size", "theory_step_size", "factor")},
                    **{k: config[k] for k in ("timeline_seed", "data_seed")},
                    "status": str(status),
                    "reason": reason,
                    "seconds": seconds / len(ids),
                    "peak_memory": peak_memory(),
                    "versions": json.dumps(versions(), sort_keys=True),
                    "device": jax.devices()[0].device_kind,
                    "config": canonical_json(config),
                }
            )
            if outcome.trace is not None:
                _append(columns, name, outcome.trace, int(r), int(g))
        digest = hashlib.sha256("".join(ids).encode()).hexdigest()[:16]
        self.store.write(f"{batch.phase}-{digest}", runs, columns)
        if outcome.status is Status.INTERRUPTED:
            raise InterruptedRunError("stopped on request; the same command goes on from here")

    def _status(self, outcome: "Outcome", r: int, g: int) -> tuple[Status, str | None]:
        """The status of one run of a batch."""
        if outcome.trace is None or outcome.status is Status.INTERRUPTED:
            return outcome.status, outcome.reason
        study = self.study
        if (getattr(outcome.trace, study.measure)[r, g] <= study.target).any():
            return Status.TARGET_REACHED, None
        status = outcome.trace.status()[r, g]
        if status is Status.FINISHED:
            return outcome.status, outcome.reason
        return status, "‖∇f(x)‖² is not finite"


class Outcome(NamedTuple):
    """What became of a batch."""

    trace: Trace | None
    status: Status
    reason: str | None


TRACE_COLUMNS = (
    "run_id",
    "record",
    "time",
    "step",
    "gradients",
    "bits_up",
    "bits_down",
    "value",
    "gap",
    "grad_norm2",
    "accuracy",
)


MEASURES = ("value", "gap", "grad_norm2", "accuracy")
"""What a trace measures, for each of its runs."""


def _append(columns: dict[str, list], name: str, trace: Trace, r: int, g: int) -> None:
    M = len(trace.step)
    columns["run_id"].extend([name] * M)
    columns["record"].extend(range(M))
    for column in ("time", "step", "gradients", "bits_up", "bits_down"):
        columns[column].extend(getattr(trace, column).tolist())
    for column in MEASURES:
        columns[column].extend(getattr(trace, column)[r, g].tolist())


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
