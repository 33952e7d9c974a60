"""The command `dopt live`: a study's methods on real workers, beside what the simulator says.

Into the folder of the study's sweep it writes

* `live.parquet`: a row a run;
* `live_traces.parquet`: the records of each run, and those of the simulator's run of the same step
  size and seed on its own schedule;
* `live-REGIME-METHOD.npz`: the schedule of each run (`experiments.lived.read_schedule`), which
  `dopt.replay` takes;
* `live.png` and `live.pdf`.

Each time it runs it replaces the tables; they are written after each run.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO

import pandas as pd

from dopt.errors import ConfigurationError, InterruptedRunError, NoProgressError
from dopt.results import Status
from dopt.results.places import Place, place_at
from dopt.results.read import load
from experiments import lived
from experiments.advance import Advance
from experiments.builders import study_of
from experiments.commands import run as sweep
from experiments.live_figure import figure_files
from experiments.live_table import show
from experiments.options import LiveOptions
from experiments.study import Entry, Regime, Study
from experiments.terminal import out, progress, signals
from simulators.ray_session import LOCAL, session


RUNS, TRACES = "live.parquet", "live_traces.parquet"


def live(options: LiveOptions) -> None:
    """Sweeps what is missing, lives the chosen methods, writes, draws and prints.

    Raises:
        ConfigurationError: a regime or a method that the study does not have, or no step.
        InterruptedRunError: it was stopped; what had been lived by then is written and shown.
        DoptError: no Ray, or a process that did not start.
    """
    _check(options)
    study = study_of(options.settings, options.data)
    wanted = chosen(study, options.panels, options.methods)
    sweep(study, options.out, ray=options.ray, quiet=options.quiet)
    record = Record(study, place_at(options.out))
    _live(study, wanted, options, record)
    record.draw()
    show(pd.DataFrame(record.rows), out)
    for row in record.rows:
        if row.get("reason"):
            out.print(f"{row['run']}: {row['reason']}", soft_wrap=True)
        if row.get("processes_lost"):
            lost = f"{row['processes_lost']} of {row['processes']} processes died or hung"
            out.print(f"{row['run']}: {lost}", soft_wrap=True)
    files = f"{RUNS}, {TRACES}, live.png (and PDF), and the schedules as live-*.npz"
    out.print(f"In {options.out}: {files}", soft_wrap=True)
    if len(record.rows) < len(wanted) or record.rows[-1]["status"] == Status.INTERRUPTED:
        raise InterruptedRunError(f"stopped on request; what was lived is kept in {options.out}")


def _check(options: LiveOptions) -> None:
    """Refuses what no run can be made of, before anything is computed."""
    if options.steps < 1:
        raise ConfigurationError(f"--steps {options.steps}: give at least one server step")
    if not 0 <= options.seconds < float("inf"):
        raise ConfigurationError(
            f"--seconds {options.seconds}: give the real seconds of a run, or 0 for no delays"
        )
    if not options.patience > 0:
        raise ConfigurationError(f"--patience {options.patience}: give a positive number")
    if options.processes is not None and options.processes < 1:
        raise ConfigurationError(f"--processes {options.processes}: give at least one")


def chosen(
    study: Study, regimes: Sequence[str], methods: Sequence[str]
) -> list[tuple[Regime, Entry]]:
    """The rows of the study's table that these names, or their beginnings, stand for.

    Without regimes it is the first, without methods all of them.

    Raises:
        ConfigurationError: a name that is the beginning of none.
    """
    names = [regime.name for regime in study.regimes]
    kept = _beginning("regime", names, regimes) if regimes else names[:1]
    labels = list(dict.fromkeys(e.label for regime in study.regimes for e in regime.entries))
    shown = _beginning("method", labels, methods) if methods else labels
    return [
        (regime, entry)
        for regime in study.regimes
        if regime.name in kept
        for entry in regime.entries
        if entry.label in shown
    ]


def _beginning(kind: str, names: Sequence[str], given: Sequence[str]) -> list[str]:
    """The names that begin with one of those given, whatever their case."""
    for one in given:
        if not any(name.lower().startswith(one.lower()) for name in names):
            raise ConfigurationError(
                f"{one!r} is the beginning of no {kind} of this study; it has {', '.join(names)}"
            )
    return [n for n in names if any(n.lower().startswith(one.lower()) for one in given)]


class Record:
    """What has been lived, in memory and in its folder."""

    def __init__(self, study: Study, place: Place) -> None:
        self.study, self.place = study, place
        self.rows: list[dict[str, Any]] = []
        self.traces: list[pd.DataFrame] = []

    def keep(self, outcome: lived.Outcome) -> None:
        """Writes one more run."""
        name = re.sub(r"[^0-9A-Za-z]+", "-", outcome.row["run"]).strip("-")
        self.rows.append(outcome.row)
        self.traces.append(outcome.traces)
        traces, runs = pd.concat(self.traces, ignore_index=True), pd.DataFrame(self.rows)
        self.place.publish(
            {
                f"live-{name}.npz": partial(lived.write_schedule, outcome.schedule),
                TRACES: lambda file: traces.to_parquet(file, index=False),
                RUNS: lambda file: runs.to_parquet(file, index=False),
            }
        )

    def draw(self) -> None:
        """Draws what was lived, if anything was."""
        if not self.traces:
            return
        files = figure_files(self.study, pd.concat(self.traces, ignore_index=True))
        for name, content in files.items():
            self.place.publish({name: partial(_write, content)})


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _live(
    study: Study, wanted: Sequence[tuple[Regime, Entry]], options: LiveOptions, record: Record
) -> None:
    """Lives one method after another, until a stop is asked for."""
    runs, traces = load(options.out)
    with (
        session(options.ray or LOCAL),
        signals() as stopping,
        progress(options.quiet) as on_advance,
    ):
        for number, (regime, entry) in enumerate(wanted):
            if stopping():
                break
            best = study.choice(regime, entry, runs, traces)
            try:
                plan = lived.plan(study, regime, entry, best, options.steps, options.seconds)
            except NoProgressError as why:
                record.rows.append(lived.not_lived(study, regime, entry.label, why))
                continue
            outcome = lived.run(
                plan,
                processes=options.processes,
                patience=options.patience,
                stopping=stopping,
                told=_told(on_advance, number, len(wanted), plan.name),
            )
            record.keep(outcome)


def _told(on_advance: Callable[[Advance], None], number: int, count: int, name: str) -> lived.Told:
    """Progress of one run among all."""

    def told(what: str, share: float) -> None:
        on_advance(Advance(number, count, share, f"live: {name}, {what}"))

    return told
