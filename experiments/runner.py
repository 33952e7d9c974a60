"""Running a study: tune, choose, report; kept batch by batch, so that nothing finished is lost."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import closing

import pandas as pd

from dopt.errors import DataError, InterruptedRunError
from dopt.results import Status, run_id
from dopt.results.read import load
from dopt.results.store import Store
from experiments.advance import Advance
from experiments.computing import Computed, batch_name
from experiments.executors import Executor, InProcess
from experiments.study import Batch, Study, check_kept, entries, run_configs, tuning


log = logging.getLogger("dopt")

NOTHING = pd.DataFrame()
"""The tables of a study that tunes nothing, before its reports."""


class Runner:
    """One study being run into one results folder."""

    def __init__(
        self,
        study: Study,
        store: Store,
        on_advance: Callable[[Advance], None],
        stopping: Callable[[], bool],
        executor: Executor | None = None,
    ) -> None:
        """`executor` computes the batches; by default this process does."""
        self.study, self.store = study, store
        self.on_advance, self.stopping = on_advance, stopping
        self.executor = InProcess(study) if executor is None else executor
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
            self._compute(tuning(self.study))
            self._compute(self._reports())
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

    def _compute(self, batches: Sequence[Batch]) -> None:
        """Computes what is missing of the batches and keeps each as soon as it is there."""
        missing = self._missing(batches)
        self.done += len(batches) - len(missing)

        def on_share(share: float, what: str) -> None:
            self.on_advance(Advance(self.done, self.batches, share, what))

        with closing(self.executor(missing, on_share, self.stopping)) as computed:
            for batch, found in computed:
                self._keep(batch, found)
                self.done += 1
                self._stop_if_asked()
        self._stop_if_asked()

    def _missing(self, batches: Sequence[Batch]) -> list[Batch]:
        """What is not in the folder yet."""
        finished = self.store.finished()
        found = []
        for batch in batches:
            configs = run_configs(self.study, batch)
            missing = [config for config in configs if run_id(config) not in finished]
            if missing and batch.phase == "report":
                # Other seeds were reported before; tuning ends by what all of its runs do.
                batch = batch._replace(seeds=tuple(config["data_seed"] for config in missing))
            if missing:
                found.append(batch)
        return found

    def _keep(self, batch: Batch, found: Computed) -> None:
        """Writes a batch."""
        self.store.write(batch_name(batch.phase, found), found.runs, found.traces)
        statuses = {run["status"]: run["reason"] for run in found.runs}
        if Status.FAILED in statuses:
            log.warning("%s failed: %s", batch.title, statuses[Status.FAILED])

    def _stop_if_asked(self) -> None:
        if self.stopping():
            raise InterruptedRunError("stopped on request; the same command goes on from here")
