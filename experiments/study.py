"""What a study is made of, whatever it compares: regimes, entries, and batches of runs.

A *regime* is one panel: a problem on a cluster, and how long a run may take there. An *entry* is
one row of its table: a label and the variants of a method among which it may choose (Shadowheart
SGD its noise ratio, QSGD its K). Tuning runs every variant over one grid on some data seeds; the
best pair is reported on other seeds. The grid holds step sizes or, for a variant whose theorem
gives one, factors of that. A *batch* is the runs that share one schedule and one compiled loop, and
the unit in which results are kept.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods import Method
from dopt.problems import Problem
from dopt.replay.replay import RECORDS_PER_OCTAVE, record_steps
from dopt.results import canonical_json
from dopt.schedule import Listed, Repeated, Schedule
from experiments.tuned import Best, Goal, best
from simulators import timeline
from simulators.cluster import Cluster
from simulators.varying import VaryingCluster


REPORT_SEEDS_FROM = 1000
"""Seeds that report never tune: they start here, seeds that tune at 0."""


class Variant(NamedTuple):
    """One choice of a method's own parameters; `name` tells it apart, such as `S = 10`.

    `theory` is the step size that its theorem gives in its regime; then the grid holds factors of
    it.
    """

    name: str
    method: Method
    theory: float | None = None


class Entry(NamedTuple):
    """One row of the table: a method, tuned over its variants."""

    label: str
    variants: tuple[Variant, ...]


class Limits(NamedTuple):
    """Where a run ends, whichever comes first: `bits` are those that a worker sends on average."""

    seconds: float | None = None
    steps: int | None = None
    gradients: int | None = None
    bits: int | None = None

    def __str__(self) -> str:
        """Those that are set, as in `400 gradients or 30 virtual seconds`."""
        names = {"gradients": "gradients", "seconds": "virtual seconds", "steps": "server steps"}
        names |= {"bits": "bits per worker"}
        found = {what: getattr(self, name) for name, what in names.items()}
        return " or ".join(f"{x:g} {what}" for what, x in found.items() if x is not None)


class Regime(NamedTuple):
    """One panel: a problem on a cluster, who is compared there, and how long a run may take.

    Panels of the same `row` stand side by side.
    """

    name: str
    title: str
    cluster: Cluster | VaryingCluster
    problem: Problem
    problem_config: dict[str, Any]
    entries: tuple[Entry, ...]
    limits: Limits
    row: int = 0

    def costs(self, method: Method) -> Costs:
        """What the cluster charges for the method's messages on the problem."""
        d, dtype = self.problem.d, self.problem.dtype
        bits = method.message_bits(d, dtype, self.cluster.n)
        return self.cluster.costs(d=d, dtype=dtype, message_bits=bits)


@dataclass(frozen=True, eq=False)
class Study:
    """A comparison: regimes with their entries, and one grid of `factors` for all of them.

    A run is to bring `measure` down to `target`, with as little of what `axis` counts as possible:
    virtual time, or bits sent up. `records` are made in each doubling of the steps.
    """

    name: str
    regimes: tuple[Regime, ...]
    factors: tuple[float, ...]
    tune_seeds: tuple[int, ...]
    report_seeds: tuple[int, ...]
    target: float
    timeline_seed: int
    axis: Literal["time", "bits"] = "time"
    measure: Literal["grad_norm2", "value"] = "grad_norm2"
    records: int = RECORDS_PER_OCTAVE

    @property
    def goal(self) -> Goal:
        """What the runs are for."""
        return Goal(self.target, self.axis, self.measure)

    def tunes(self, entry: Entry) -> bool:
        """Whether there is anything to choose."""
        return len(entry.variants) * len(self.factors) > 1

    def choice(
        self, regime: Regime, entry: Entry, runs: pd.DataFrame, traces: pd.DataFrame
    ) -> Best | None:
        """What tuning chose, or the only variant and step size that there is."""
        if self.tunes(entry):
            return best(runs, traces, regime.name, entry.label, self.goal)
        (variant,), (factor,) = entry.variants, self.factors
        return Best(variant.name, (variant.theory or 1.0) * factor, factor, 1, at_edge=False)


class Batch(NamedTuple):
    """Runs of one variant in one regime that share a schedule."""

    regime: Regime
    label: str
    variant: Variant
    phase: str
    factors: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def title(self) -> str:
        """Its parts by name, as progress and warnings show them."""
        return f"{self.regime.name}: {self.label} ({self.variant.name}), {self.phase}"

    @property
    def step_sizes(self) -> tuple[float, ...]:
        """Factors of theory's step size, or the factors themselves where theory gives none."""
        return tuple((self.variant.theory or 1.0) * factor for factor in self.factors)


def schedule_of(study: Study, regime: Regime, method: Method) -> Schedule:
    """The schedule of a method in a regime, cut at a record point."""
    costs, limits = regime.costs(method), regime.limits
    schedule = timeline(
        method.policy(costs, regime.problem.d),
        costs,
        steps=limits.steps,
        seconds=limits.seconds,
        gradients=limits.gradients,
        seed=study.timeline_seed,
    )
    if limits.bits is not None:
        most = limits.bits * regime.cluster.n
        schedule = schedule.until(int(np.searchsorted(schedule.steps.bits_up, most, "right")) - 1)
    stuck = schedule.stuck if isinstance(schedule, Listed) else None
    steps = record_steps(schedule.K, study.records)
    whole = record_steps(max(2 * schedule.K, 1), study.records)
    last = steps[-1] if steps[-1] in whole else steps[-2]
    cut = schedule.until(int(last))
    return cut if isinstance(cut, Repeated) else replace(cut, stuck=stuck)


def describe(value: Any) -> Any:
    """A method or compressor as JSON: its class and its fields, the step size left out."""
    if hasattr(value, "__dataclass_fields__"):
        named = {f.name: describe(getattr(value, f.name)) for f in fields(value)}
        return {"class": type(value).__name__, **named}
    if callable(value):
        # The package alone: where inside it a function lives may change with its version.
        return f"{value.__module__.partition('.')[0]}.{value.__qualname__}"
    return [describe(one) for one in value] if isinstance(value, tuple) else value


def run_configs(study: Study, batch: Batch) -> list[dict[str, Any]]:
    """The full configuration of each run, seed by seed; its hash is the run's name.

    The grid and the seeds that tune are part of it, since tuning ends when one step size has won.
    """
    regime, variant = batch.regime, batch.variant
    method = replace(variant.method, step_size=None)
    tunes = batch.phase == "tune"
    shared = {
        "study": study.name,
        "phase": batch.phase,
        "regime": regime.name,
        "regime_title": regime.title,
        "regime_order": [r.name for r in study.regimes].index(regime.name),
        "regime_row": regime.row,
        "method": batch.label,
        "variant": variant.name,
        "method_config": describe(method),
        "theory_step_size": variant.theory,
        "problem": regime.problem_config,
        "cluster": regime.cluster.to_config(),
        "n": regime.cluster.n,
        **regime.limits._asdict(),
        **study.goal._asdict(),
        "step_sizes": list(batch.step_sizes) if tunes else [],
        "tune_seeds": list(batch.seeds) if tunes else [],
        "timeline_seed": study.timeline_seed,
        "records_per_octave": study.records,
    }
    return [
        shared | {"step_size": step_size, "factor": factor, "data_seed": seed}
        for seed in batch.seeds
        for step_size, factor in zip(batch.step_sizes, batch.factors, strict=True)
    ]


def longest_first(study: Study) -> list[Regime]:
    """The regimes, the longest virtual time first, so that the others can use its traces."""
    return sorted(study.regimes, key=lambda regime: -(regime.limits.seconds or 0.0))


def entries(study: Study) -> list[tuple[Regime, Entry]]:
    """Every entry in every regime, those with the same label after each other."""
    regimes = longest_first(study)
    labels = dict.fromkeys(entry.label for regime in study.regimes for entry in regime.entries)
    return [
        (regime, entry)
        for label in labels
        for regime in regimes
        for entry in regime.entries
        if entry.label == label
    ]


def grids(study: Study) -> list[Batch]:
    """The whole grid of every variant; a variant's regimes after each other."""
    found = [
        Batch(regime, entry.label, variant, "tune", study.factors, study.tune_seeds)
        for regime, entry in entries(study)
        for variant in entry.variants
    ]
    order = list(dict.fromkeys((batch.label, batch.variant.name) for batch in found))
    labels = list(dict.fromkeys(batch.label for batch in found))

    def place(batch: Batch) -> tuple[int, int]:
        return labels.index(batch.label), order.index((batch.label, batch.variant.name))

    return sorted(found, key=place)


def tuning(study: Study) -> list[Batch]:
    """All batches that tune: where there is one variant and one factor, there is none."""
    tuned = {(regime.name, entry.label) for regime, entry in entries(study) if study.tunes(entry)}
    return [batch for batch in grids(study) if (batch.regime.name, batch.label) in tuned]


def check_kept(study: Study, kept: Sequence[dict[str, Any]], folder: str | Path) -> None:
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
    for batch in grids(study):
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
    own = ("step_size", "factor", "data_seed")
    return {key: value for key, value in config.items() if key not in own}


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
