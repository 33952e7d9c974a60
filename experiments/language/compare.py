"""`dopt compare`: a model compressed by several methods at the same budgets."""

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from dopt.compression.budget import Allocation, BudgetError, dynamic, uniform
from dopt.compression.compress import How, compress, plan_of
from dopt.compression.folder import load_compressed
from dopt.errors import ConfigurationError, InterruptedRunError
from dopt.evaluation import Reference, against, paired_difference, reference
from dopt.evaluation.steps import OnProgress, Stopping
from dopt.models import load, parameter_count
from dopt.models.load import Loaded
from dopt.models.parameters import Path as Place
from dopt.models.parameters import linear_paths, parameter_shapes
from dopt.results.local import LocalPlace
from dopt.results.schema import run_id
from experiments.language.alpha import alpha_of
from experiments.language.compress import wanted
from experiments.language.evaluate import with_error
from experiments.language.options_compress import Compare
from experiments.language.rows import Measured, Row, keep, kept, write_all
from experiments.language.telling import Tell, telling
from experiments.language.tokens import calibration, windows_of_texts
from experiments.terminal import out, signals


class Job(NamedTuple):
    """A row of the table, before it is measured."""

    method: str
    bits: float
    p: int | None
    dynamic: bool

    @property
    def label(self) -> str:
        """Such as "higgs p=2, dynamic"."""
        p = "" if self.p is None else f" p={self.p}"
        return f"{self.method}{p}{', dynamic' if self.dynamic else ''}"


def compare(options: Compare) -> None:
    """Computes the rows that are missing, and prints all.

    Raises:
        ConfigurationError: settings that cannot be, or no method that fits a budget.
        DataError: a model or a text that cannot be read.
        InterruptedRunError: the user asked to stop; rows that are finished are kept.
        DoptError: the folder cannot be written.
    """
    loaded = load(options.model)
    windows = windows_of_texts(loaded, options.text, options.window, options.windows)
    place = LocalPlace(options.out)
    lock = place.lock()
    try:
        jobs = list(_jobs(options))
        with signals() as stopping, telling(options.compression.quiet, 2 * len(jobs) + 2) as tell:
            found, refused = _allocations(options, loaded, jobs, tell, stopping)
            told = tell("measuring the original")
            original = reference(loaded.model, windows, on_progress=told, stopping=stopping)
            rows = []
            for job, allocation in found:
                how = _how(options, loaded, allocation)
                measure = partial(_measured, options, loaded, original, how)
                rows.append(Row(job.label, job.bits, measure(partial(tell, job.label), stopping)))
        write_all(options.out / "compare.parquet", rows)
    except InterruptedRunError:
        raise InterruptedRunError(
            "stopped on request; finished rows are kept, and the same command computes the others"
        ) from None
    finally:
        lock.release()
    out.print(table(rows))
    for line in lines(options, loaded, original, rows, refused):
        out.print(line, soft_wrap=True)


def _jobs(options: Compare) -> Iterator[Job]:
    """By budget, then by method, uniform before dynamic."""
    for bits, method in product(options.bits, options.methods):
        grids = options.p if options.p and method.startswith("higgs") else (None,)
        for p, each in product(grids, (False, True) if options.dynamic else (False,)):
            yield Job(method, bits, p, each)


def table(rows: Sequence[Row]) -> Table:
    """A row for each method and budget; differences are to the first method of the budget."""
    shown = Table("method", "bits a weight", "whole model", "perplexity", "KL, nats a token")
    for name in ("KL less the first", "top-1", "seconds", "MB on disk"):
        shown.add_column(name)
    first: dict[float, Row] = {}
    for row in rows:
        found = row.measured.divergence
        begun = first.setdefault(row.budget, row)
        difference = ""
        if row is not begun:
            pair = paired_difference(found.per_token, begun.measured.divergence.per_token)
            difference = with_error(pair.mean, pair.error, 5, sign="+")
        elif len(first) > 1:
            shown.add_section()
        value, error = found.perplexity.value, found.perplexity.error
        shown.add_row(
            Text(row.label),
            f"{row.measured.bits:.4f}",
            f"{row.measured.model_bits:.3f}",
            with_error(value, value * error, 3),
            with_error(found.mean, found.error, 5),
            difference,
            f"{100 * found.top1:.1f} %",
            f"{row.measured.seconds:.0f}",
            f"{row.measured.size / 1e6:.1f}",
        )
    return shown


def lines(
    options: Compare, loaded: Loaded, original: Reference, rows: Sequence[Row], refused: list[str]
) -> Iterator[str]:
    """What has to be said below the table."""
    windows = original.windows
    told = ""
    if rows:
        found = rows[0].measured.divergence.reference_perplexity
        told = (
            f"; the original has perplexity {with_error(found.value, found.value * found.error, 3)}"
        )
    yield (
        f"{windows.counts.sum():,} tokens scored in {windows.counts.size} windows of "
        f"{options.window}{told}"
    )
    yield from refused
    if loaded.note is not None:
        yield loaded.note


def _allocations(
    options: Compare, loaded: Loaded, jobs: Sequence[Job], tell: Tell, stopping: Stopping
) -> tuple[list[tuple[Job, Allocation]], list[str]]:
    """The settings of every row, and why some have none."""
    config, found, refused = loaded.model.config, [], []
    alpha: dict[Place, float] | None = None
    for job in jobs:
        asked = partial(wanted, job.p, options.compression.group)
        try:
            allocation = uniform(config, job.method, job.bits, asked)
            if job.dynamic:
                if alpha is None:
                    file = options.out / "alpha.jsonl"
                    told = tell("measuring α")
                    alpha = alpha_of(
                        options.compression, loaded, file, told, stopping
                    ).linearity.alpha
                allocation = dynamic(config, job.method, job.bits, alpha, asked)
        except BudgetError as error:
            refused.append(f"{job.label} at {job.bits:g} bits: {error}")
            continue
        found.append((job, allocation))
    if not found:
        raise ConfigurationError(f"no method fits its budget: {'; '.join(refused)}")
    return found, refused


def _how(options: Compare, loaded: Loaded, allocation: Allocation) -> How:
    rows = None
    if any(quantizer.needs_hessian for quantizer in allocation.quantizers.values()):
        rows = calibration(options.compression, loaded)
    return How(allocation.quantizers, rows, options.compression.outside)


def _measured(
    options: Compare,
    loaded: Loaded,
    original: Reference,
    how: How,
    told: Callable[[], OnProgress],
    stopping: Stopping,
) -> Measured:
    """From its file, or compressed, measured and kept."""
    plan = plan_of(loaded, how)
    name = run_id({"plan": plan, "windows": original.windows.fingerprint})
    file, folder = options.out / "rows" / f"{name}.parquet", options.out / "models" / name
    if (found := kept(file)) is not None:
        return found
    # What a kill has left would make the seconds fewer.
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.monotonic()
    manifest = compress(loaded, how, folder, on_progress=told(), stopping=stopping)
    seconds = time.monotonic() - begun
    config = loaded.model.config
    sizes = parameter_shapes(config)
    weights = sum(math.prod(sizes[place]) for place in linear_paths(config))
    model = load_compressed(folder).model
    measured = Measured(
        manifest["bits"]["matrices"] / weights,
        manifest["bits"]["model"] / parameter_count(config),
        seconds,
        sum(mark["bytes"] for mark in manifest["files"].values()),
        against(model, original, on_progress=told(), stopping=stopping),
    )
    keep(file, measured)
    shutil.rmtree(folder)
    return measured
