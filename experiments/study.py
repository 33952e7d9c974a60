"""What a study is made of, whatever it compares: regimes, entries, and batches of runs.

An *entry* is one row of the table: a label and the variants of a method among which it may choose
(Shadowheart SGD its noise ratio, QSGD its K). Tuning runs every variant over one grid of step
sizes on some data seeds; the best pair is reported on other seeds. A *batch* is the runs that
share one schedule and one compiled loop, and the unit in which results are kept.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from dopt.methods import Method
from dopt.problems import Problem
from dopt.replay import record_steps
from dopt.schedule import Schedule
from simulators import timeline
from simulators.cluster import Cluster


class Variant(NamedTuple):
    """One choice of a method's own parameters; `name` tells it apart, such as `S = 10`."""

    name: str
    method: Method


class Entry(NamedTuple):
    """One row of the table: a method, tuned over its variants."""

    label: str
    variants: tuple[Variant, ...]


class Regime(NamedTuple):
    """One panel: a cluster, and how much virtual time a run may take on it."""

    name: str
    title: str
    cluster: Cluster
    seconds: float


@dataclass(frozen=True)
class Study:
    """A comparison: regimes × entries on one problem, one grid of step sizes for all."""

    name: str
    problem: Problem
    problem_config: dict[str, Any]
    regimes: tuple[Regime, ...]
    entries: tuple[Entry, ...]
    step_sizes: tuple[float, ...]
    tune_seeds: tuple[int, ...]
    report_seeds: tuple[int, ...]
    target: float
    gradients: int
    timeline_seed: int


class Batch(NamedTuple):
    """Runs of one variant in one regime that share a schedule."""

    regime: Regime
    label: str
    variant: Variant
    phase: str
    step_sizes: tuple[float, ...]
    seeds: tuple[int, ...]


def schedule_of(study: Study, regime: Regime, method: Method) -> Schedule:
    """The schedule of a method in a regime, cut at a record point."""
    d = study.problem.d
    costs = regime.cluster.costs(
        d=d,
        dtype=study.problem.dtype,
        message_bits=method.compressor.nbits(d, study.problem.dtype),
    )
    schedule = timeline(
        method.policy(costs, d),
        costs,
        seconds=regime.seconds,
        gradients=study.gradients,
        seed=study.timeline_seed,
    )
    steps = record_steps(schedule.K)
    whole = record_steps(max(2 * schedule.K, 1))
    last = steps[-1] if steps[-1] in whole else steps[-2]
    return schedule.until(int(last))


def describe(value: Any) -> Any:
    """A method or compressor as JSON: its class and its fields, the step size left out."""
    if hasattr(value, "__dataclass_fields__"):
        named = {f.name: describe(getattr(value, f.name)) for f in fields(value)}
        return {"class": type(value).__name__, **named}
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value


def run_config(study: Study, batch: Batch, step_size: float, seed: int) -> dict[str, Any]:
    """The full configuration of one run; its hash is the run's name.

    The grid is part of it, since tuning ends when one step size of the grid has won.
    """
    method = replace(batch.variant.method, step_size=None)
    return {
        "study": study.name,
        "phase": batch.phase,
        "regime": batch.regime.name,
        "regime_title": batch.regime.title,
        "regime_order": [r.name for r in study.regimes].index(batch.regime.name),
        "method": batch.label,
        "variant": batch.variant.name,
        "method_config": describe(method),
        "problem": study.problem_config,
        "cluster": batch.regime.cluster.to_config(),
        "n": batch.regime.cluster.n,
        "seconds": batch.regime.seconds,
        "gradients": study.gradients,
        "target": study.target,
        "step_size": step_size,
        "grid": list(batch.step_sizes),
        "grid_seeds": list(batch.seeds) if batch.phase == "tune" else [],
        "timeline_seed": study.timeline_seed,
        "data_seed": seed,
    }


def longest_first(study: Study) -> list[Regime]:
    """The regimes, the longest virtual time first, so that the others can use its traces."""
    return sorted(study.regimes, key=lambda regime: -regime.seconds)


def tuning(study: Study) -> list[Batch]:
    """All batches that tune."""
    return [
        Batch(regime, entry.label, variant, "tune", study.step_sizes, study.tune_seeds)
        for entry in study.entries
        for variant in entry.variants
        for regime in longest_first(study)
    ]
