"""What a study is made of, whatever it compares: regimes, entries, and batches of runs.

An *entry* is one row of the table: a label and the variants of a method among which it may choose
(Shadowheart SGD its noise ratio, QSGD its K). Tuning runs every variant over one grid of step
sizes on some data seeds; the best pair is reported on other seeds. A *batch* is the runs that
share one schedule and one compiled loop, and the unit in which results are kept.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from dopt.errors import ConfigurationError
from dopt.methods import Method
from dopt.problems import Problem
from dopt.replay import record_steps
from dopt.results import canonical_json
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
        # The package alone: where inside it a function lives may change with its version.
        return f"{value.__module__.partition('.')[0]}.{value.__qualname__}"
    return value


def run_configs(study: Study, batch: Batch) -> list[dict[str, Any]]:
    """The full configuration of each run, seed by seed; its hash is the run's name.

    The grid and the seeds that tune are part of it, since tuning ends when one step size has won.
    """
    method = replace(batch.variant.method, step_size=None)
    tunes = batch.phase == "tune"
    shared = {
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
        "step_sizes": list(batch.step_sizes) if tunes else [],
        "tune_seeds": list(batch.seeds) if tunes else [],
        "timeline_seed": study.timeline_seed,
    }
    return [
        shared | {"step_size": step_size, "data_seed": seed}
        for seed in batch.seeds
        for step_size in batch.step_sizes
    ]


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


def check_kept(study: Study, kept: Sequence[dict[str, Any]], folder: Path) -> None:
    """Refuses configurations of runs in `folder` that this study would not make.

    A folder only grows: by seeds that report, by variants, by regimes at the end.

    Raises:
        ConfigurationError: it names the setting that differs, and both its values.
    """
    for config in kept:
        if config.get("study") != study.name:
            raise ConfigurationError(
                f"{folder} holds runs of the study {config.get('study')}, not of {study.name}; "
                "give another folder with --out"
            )
    seeds = {config["data_seed"] for config in kept if config["phase"] == "report"}
    if not seeds <= set(study.report_seeds):
        raise ConfigurationError(
            f"{folder} holds reported runs of more seeds than {len(study.report_seeds)}, the "
            "number now; give more with --seeds, or another folder with --out"
        )
    ours = {}
    for batch in tuning(study):
        for phase in ("tune", "report"):
            config = _of_batch(run_configs(study, batch._replace(phase=phase))[0])
            ours[_name(config)] = json.loads(canonical_json(config))
    theirs = {canonical_json(config): config for config in map(_of_batch, kept)}
    strangers = []
    for config in theirs.values():
        if _name(config) not in ours:
            strangers.append(config)
        elif found := _difference(config, ours[_name(config)]):
            place, before, now = found
            raise ConfigurationError(
                f"{folder} holds runs with {place} = {before}, and now {place} = {now}: they "
                "cannot be compared; give another folder with --out"
            )
    for config in strangers:
        raise ConfigurationError(
            f"{folder} holds runs of {config['method']} ({config['variant']}) in regime "
            f"{config['regime']}, which this study does not have; add it, or give another folder "
            "with --out"
        )


def _of_batch(config: dict[str, Any]) -> dict[str, Any]:
    """What the runs of a batch have in common."""
    return {key: value for key, value in config.items() if key not in ("step_size", "data_seed")}


def _name(config: dict[str, Any]) -> tuple[str, ...]:
    return tuple(config[key] for key in ("regime", "method", "variant", "phase"))


def _difference(before: Any, now: Any, place: str = "") -> tuple[str, Any, Any] | None:
    """The first place where two configurations differ, such as `problem.d`, and what is there."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return None if before == now else (place, before, now)
    for key in sorted(before.keys() | now.keys()):
        inner = f"{place}.{key}" if place else key
        if found := _difference(before.get(key), now.get(key), inner):
            return found
    return None
