"""One live run of a study: its plan, its life, its replay, and the rows of both tables.

The delays of a run are those of the cluster times `scale`, such that what the simulator says its
steps take becomes the real seconds that were asked for.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from dopt.errors import InterruptedRunError, NoProgressError
from dopt.methods import Method
from dopt.replay import record_steps, replay
from dopt.replay.loop import measure
from dopt.replay.plain import plain_replay
from dopt.results import Status
from dopt.schedule import Arrivals, Listed, Schedule, Steps
from dopt.versions import versions
from experiments.study import Entry, Regime, Study, schedule_of
from experiments.tuned import Best
from simulators.live import Live, live


LIVED, SIMULATED = "lived", "simulated"
"""The sources of the traces."""

Told = Callable[[str, float], None]
"""Is told what a run does now, and which share of that is done."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be lived: a method with its step size, what the simulator says, and the scale."""

    study: Study
    regime: Regime
    label: str
    best: Best
    method: Method
    simulated: Schedule
    scale: float

    @property
    def seed(self) -> int:
        """The data seed: the first that reports."""
        return self.study.report_seeds[0]

    @property
    def name(self) -> str:
        """Tells the run apart among those of its study."""
        return f"{self.regime.name}, {self.label}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a run: its row, its trace beside the simulator's, and the lived schedule."""

    row: dict[str, Any]
    traces: pd.DataFrame
    schedule: Listed


def plan(
    study: Study, regime: Regime, entry: Entry, best: Best | None, steps: int, seconds: float
) -> Plan:
    """The run of a chosen variant and step size, of at most `steps` steps.

    Args:
        study: whose limits hold.
        regime: problem and cluster.
        entry: the row of the study's table.
        best: what tuning chose.
        steps: server steps at most.
        seconds: real seconds that the delays of these steps take; 0 for no delays.

    Raises:
        NoProgressError: the server never moves.
    """
    if best is None:
        raise NoProgressError("its server never moved in the sweep")
    variant = next(one for one in entry.variants if one.name == best.variant)
    most = min(steps, regime.limits.steps or steps)
    limited = regime._replace(limits=regime.limits._replace(steps=most))
    simulated = schedule_of(study, limited, variant.method)
    if simulated.K < 1:
        raise NoProgressError(f"{regime.limits} end before the first server step")
    scale = seconds / float(simulated.time[-1])
    method = replace(variant.method, step_size=best.step_size)
    return Plan(study, regime, entry.label, best, method, simulated, scale)


def run(
    plan: Plan,
    *,
    processes: int | None,
    patience: float,
    stopping: Callable[[], bool],
    told: Told,
) -> Outcome:
    """Lives it, replays what was lived, and measures both it and the simulator's run.

    Raises:
        ConfigurationError, DoptError: as `simulators.live.live`.
    """
    steps, problem = plan.simulated.K, plan.regime.problem
    told("starts", 0.0)
    lived = live(
        *(problem, plan.method, plan.regime.costs(plan.method)),
        steps=steps,
        seed=plan.seed,
        timeline_seed=plan.study.timeline_seed,
        seconds_scale=plan.scale,
        processes=processes,
        patience=patience,
        stopping=stopping,
        on_step=lambda k: told(f"step {k} of {steps}", k / steps),
    )
    told("is replayed", 1.0)
    difference = math.nan if stopping() else _difference(plan, lived, stopping)
    traces = _traces(plan, lived, stopping)
    measured = traces.loc[traces["source"] == LIVED, plan.study.measure].to_numpy()
    row = _row(plan, lived, difference) | {"status": str(_status(plan, lived, measured))}
    return Outcome(row, traces, lived.schedule)


def _status(plan: Plan, lived: Live, measured: npt.NDArray[np.float64]) -> Status:
    """How it ended, by what was measured where it did not end early."""
    if lived.status is not Status.FINISHED:
        return lived.status
    if (measured <= plan.study.target).any():
        return Status.TARGET_REACHED
    return Status.FINISHED if np.isfinite(measured[-1]) else Status.DIVERGED


def _difference(plan: Plan, lived: Live, stopping: Callable[[], bool]) -> float:
    """The largest difference of a coordinate of a model to the plain replay's; 0 if all are equal.

    NaN where it was stopped. Coordinates that are not finite on both sides are equal.
    """

    def look(row: Arrivals, message: Any) -> None:
        if stopping():
            raise InterruptedRunError("stopped on request")

    try:
        again = plain_replay(
            plan.regime.problem, plan.method, lived.schedule, seed=plan.seed, on_message=look
        )
    except InterruptedRunError:
        return math.nan
    largest = 0.0
    for ours, theirs in zip(map(np.asarray, again), map(np.asarray, lived.models), strict=True):
        if not np.array_equal(ours, theirs, equal_nan=True):
            largest = max(largest, float(np.max(np.abs(ours - theirs), initial=0.0)))
    return largest


def _row(plan: Plan, lived: Live, difference: float) -> dict[str, Any]:
    """The row of the run."""
    schedule, K, n = lived.schedule, lived.schedule.K, lived.schedule.n
    ours, theirs = schedule.steps, plan.simulated.steps
    real, virtual = float(schedule.time[K]), float(plan.simulated.time[K])
    expected = virtual * plan.scale
    return {
        "run": plan.name,
        "study": plan.study.name,
        "regime": plan.regime.name,
        "method": plan.label,
        "variant": plan.best.variant,
        "step_size": plan.best.step_size,
        "data_seed": plan.seed,
        "timeline_seed": plan.study.timeline_seed,
        "n": n,
        "reason": lived.reason,
        "steps": K,
        "steps_planned": plan.simulated.K,
        "scale": plan.scale,
        "seconds": real,
        "seconds_simulated": expected,
        "ratio": real / expected if expected else math.nan,
        "seconds_starting": lived.starting,
        "messages": int(schedule.arrivals.messages.sum()),
        "bits_up": int(ours.bits_up[K]),
        "bits_received": int(lived.received.sum()),
        "bits_up_simulated": int(theirs.bits_up[K]),
        "bits_down": int(ours.bits_down[K]),
        "bits_down_simulated": int(theirs.bits_down[K]),
        "envelope_bytes": lived.envelope,
        "processes": lived.processes,
        "processes_lost": sum(peak is None for peak in lived.memory),
        "memory_per_worker": lived.memory_per_worker,
        "replay_difference": difference,
        "versions": json.dumps(versions(), sort_keys=True),
    }


def not_lived(study: Study, regime: Regime, label: str, why: NoProgressError) -> dict[str, Any]:
    """The row of a method whose server never moves."""
    return {
        "run": f"{regime.name}, {label}",
        "study": study.name,
        "regime": regime.name,
        "method": label,
        "n": regime.cluster.n,
        "status": str(Status.NO_PROGRESS),
        "reason": str(why),
        "steps": 0,
    }


def _traces(plan: Plan, lived: Live, stopping: Callable[[], bool]) -> pd.DataFrame:
    """The records of what was lived and of what the simulator says, one below the other.

    `seconds` are real ones, those of the simulator times the scale; `time` are virtual ones, those
    that were lived divided by the scale. Without delays there is no scale, and the one is missing.
    """
    problem, schedule, scale = plan.regime.problem, lived.schedule, plan.scale
    records = record_steps(schedule.K, plan.study.records)
    numbers = np.array([_measured(problem, lived.models[k]) for k in records])
    real = schedule.time[records]
    virtual = real / scale if scale else np.full(len(real), np.nan)
    ours = _frame(plan, LIVED, records, schedule.steps, numbers, seconds=real, time=virtual)
    if stopping():
        return ours
    trace = replay(
        problem,
        plan.method,
        plan.simulated,
        seeds=[plan.seed],
        records=record_steps(plan.simulated.K, plan.study.records),
        stopping=stopping,
    )
    measured = (trace.value, trace.grad_norm2, trace.accuracy)
    theirs = _frame(
        *(plan, SIMULATED, trace.step, plan.simulated.steps),
        np.stack([numbers[0, 0] for numbers in measured], axis=1),
        seconds=trace.time * scale if scale else np.full(len(trace.time), np.nan),
        time=trace.time,
    )
    return pd.concat([ours, theirs], ignore_index=True)


def _measured(problem: Any, x: Any) -> tuple[float, ...]:
    """f(x), ‖∇f(x)‖² and accuracy."""
    return tuple(float(number[0, 0]) for number in measure(problem, x[None, None]))


def _frame(
    plan: Plan,
    source: str,
    records: npt.NDArray[np.int64],
    steps: Steps,
    numbers: npt.NDArray[np.float64],
    **times: npt.NDArray[np.float64],
) -> pd.DataFrame:
    """The records of one source."""
    names = {"run": plan.name, "regime": plan.regime.name, "method": plan.label, "source": source}
    spent = {name: getattr(steps, name)[records] for name in ("gradients", "bits_up", "bits_down")}
    measured = dict(zip(("value", "grad_norm2", "accuracy"), numbers.T, strict=True))
    return pd.DataFrame(times | {"step": records} | spent | measured).assign(**names)


def write_schedule(schedule: Listed, file: BinaryIO) -> None:
    """Writes a schedule as an .npz file: its columns by name, `n`, `tick` and why it is `stuck`."""
    columns = {f"arrivals_{k}": v for k, v in schedule.arrivals._asdict().items()}
    columns |= {f"steps_{k}": v for k, v in schedule.steps._asdict().items()}
    alone: Any = {"n": schedule.n, "tick": schedule.tick, "stuck": schedule.stuck or ""}
    np.savez_compressed(file, **columns, **alone)


def read_schedule(file: Path | BinaryIO) -> Listed:
    """The schedule that `write_schedule` wrote: to be replayed like any other."""
    with np.load(file) as kept:
        arrivals = Arrivals._make(kept[f"arrivals_{name}"] for name in Arrivals._fields)
        steps = Steps._make(kept[f"steps_{name}"] for name in Steps._fields)
        stuck = str(kept["stuck"]) or None
        return Listed(int(kept["n"]), float(kept["tick"]), steps, arrivals, stuck)
