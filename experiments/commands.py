"""What the commands of `dopt` do."""

import inspect
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import compressors
import dopt.methods
import dopt.problems
from compressors import Compressor
from compressors.kernels import operations
from dopt.errors import DataError, DoptError
from dopt.methods import Method
from dopt.problems import Problem
from dopt.results.read import load
from dopt.results.store import Store
from experiments import (
    check_compressors,
    compressor_pictures,
    error_feedback,
    heterogeneity,
    kimad_cifar,
    kimad_mnist,
    kimad_quadratic,
    kimad_rounds,
    marina_libsvm,
    marina_quadratics,
    mnist_network,
    quantizers,
)
from experiments.benchmarks import compressors as compressors_benchmark
from experiments.benchmarks import simulator
from experiments.figures import draw
from experiments.kimad_figures import draw_bandwidth, draw_rounds
from experiments.kimad_layers_figure import draw_layers
from experiments.kimad_traces_figure import draw_traces, table_of_traces
from experiments.runner import Advance, Runner
from experiments.settings import (
    STUDIES,
    ErrorFeedback,
    Heterogeneity,
    KimadCifar,
    KimadMnist,
    KimadQuadratic,
    KimadTraces,
    MarinaLibsvm,
    MarinaQuadratics,
    MnistNetwork,
)
from experiments.summary import show, summarize
from experiments.tuned import Goal
from simulators.presets import PRESETS as CLUSTERS


TRACES = "kimad-traces"
KIMAD_FIGURES: dict[str, tuple[Callable[[Path], list[Path]], ...]] = {
    "rounds.parquet": (draw_bandwidth, draw_rounds),
    "layers.parquet": (draw_layers,),
}
"""What is drawn of each of the tables beside those of runs."""

PLAIN: Any = {"highlight": False, "markup": False, "emoji": False}
"""Names of files and clusters are printed as they are, whatever brackets and colons they hold."""

out = Console(width=None if os.isatty(1) else 160, **PLAIN)
err = Console(stderr=True, **PLAIN)


BUILDERS: dict[type, ModuleType] = {
    Heterogeneity: heterogeneity,
    MarinaQuadratics: marina_quadratics,
    MarinaLibsvm: marina_libsvm,
    ErrorFeedback: error_feedback,
    MnistNetwork: mnist_network,
    KimadQuadratic: kimad_quadratic,
    KimadMnist: kimad_mnist,
    KimadTraces: kimad_mnist,
    KimadCifar: kimad_cifar,
}
"""The module that builds the study of each class of settings."""


def sweep(settings: Any, *, folder: Path, data: str | None, quiet: bool) -> None:
    """Builds the study, runs what is missing, draws and prints."""
    study = BUILDERS[type(settings)].build(settings, data)
    with Store(folder) as store, _signals() as stopping, _progress(quiet) as on_advance:
        Runner(study, store, on_advance, stopping).run()
    table = summarize(study, folder)
    if study.name.startswith("kimad-") and study.name != TRACES:
        kimad_rounds.write(study, folder)
    paths = _figures(study.name, table, folder)
    _show(study.name, table, study.goal)
    _say_where(folder, paths)
    failed = int(table["failed"].sum())
    if failed:
        raise DoptError(
            f"{failed} runs failed, for the reasons given above and in the column `reason` of "
            "runs.parquet; the table is without them, and the same command tries them again"
        )


def plot(folder: Path) -> None:
    """Draws the figures of a folder again and prints its table."""
    summary = folder / "summary.csv"
    if not summary.exists():
        draw(folder)
        raise DataError(
            f"{folder} has figures now but no summary.csv: its sweep did not end; run the same "
            "sweep again, it computes only what is missing"
        )
    table = pd.read_csv(summary).fillna({"variant": ""})
    if "factor" not in table:
        draw(folder)
        raise DataError(
            f"{folder} has figures now, but an older version wrote its summary.csv; sweep into "
            "another folder for its table"
        )
    runs, _ = load(folder)
    study = str(runs["study"].iloc[0])
    paths = _figures(study, table, folder)
    _show(study, table, Goal.of(json.loads(runs["config"].iloc[0])))
    _say_where(folder, paths)


def _figures(study: str, table: pd.DataFrame, folder: Path) -> list[Path]:
    """The figures of a study, drawn into its folder."""
    if study == TRACES:
        return draw_traces(table, folder)
    paths = draw(folder)
    for name, another in KIMAD_FIGURES.items():
        if study.startswith("kimad-") and (folder / name).exists():
            paths += [path for figure in another for path in figure(folder)]
    return paths


def _show(study: str, table: pd.DataFrame, goal: Goal) -> None:
    """The table of a study: of many links, how often Kimad was first."""
    if study != TRACES:
        show(table, goal, out)
        return
    counts = table_of_traces(table)
    shown = Table(title=f"Kimad's time to {goal}, on how many traces it is first, and by how much")
    for column in counts.columns:
        shown.add_column(str(column).replace("_", " "), no_wrap=True)
    for row in counts.itertuples(index=False):
        shown.add_row(*(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row))
    out.print(shown)


def _say_where(folder: Path, paths: list[Path]) -> None:
    names = ", ".join(path.name for path in paths if path.suffix == ".png")
    files = f"runs.parquet, traces.parquet, summary.csv, {names} (and PDF)"
    out.print(f"In {folder}: {files}", soft_wrap=True)


def bench(workloads: Sequence[str], pairs: int, file: Path | None) -> None:
    """Measures the simulator and prints the table."""
    simulator.bench(workloads, pairs, file, out, _say)


def check(names: Sequence[str], d: int, draws: int | None, seed: int) -> None:
    """Checks operators and prints the table."""
    check_compressors.check(names, d=d, draws=draws, seed=seed, out=out, say=_say)


def bench_compressors(names: Sequence[str], dims: Sequence[int], file: Path | None) -> None:
    """Measures operators and prints the table."""
    compressors_benchmark.bench(names, dims, file, out, _say)


def plot_compressors(folder: Path, data: str | None) -> None:
    """Measures the errors of operators and draws them."""
    paths = compressor_pictures.draw(folder, data, _say)
    out.print(f"In {folder}: {', '.join(path.name for path in paths)}", soft_wrap=True)


def plot_quantizers(folder: Path) -> None:
    """Draws what correlated quantization saves in theory."""
    paths = quantizers.draw(folder)
    out.print(f"In {folder}: {', '.join(path.name for path in paths)}", soft_wrap=True)


def bench_kernels(names: Sequence[str], sizes: Sequence[int], file: Path | None) -> None:
    """Measures kernels and prints the table."""
    from experiments.benchmarks import kernels

    kernels.bench(names, sizes, file, lambda text: out.print(text, soft_wrap=True), _say)


def _say(line: str) -> None:
    """A line of progress."""
    err.print(line, soft_wrap=True)


def listing(what: str) -> None:
    """Prints one line for each thing there is."""
    kinds = {
        "methods": lambda: _classes(dopt.methods, Method),
        "compressors": lambda: _classes(compressors, Compressor),
        "problems": lambda: _classes(dopt.problems, Problem),
        "clusters": lambda: {name: preset.description for name, preset in CLUSTERS.items()},
        "kernels": _kernels,
        "studies": lambda: {
            f"{study} --preset {name}": preset.description
            for study, kind in STUDIES.items()
            for name, preset in kind.presets.items()
        },
    }
    for kind in kinds if what == "all" else (what,):
        table = Table(title=kind, title_justify="left", show_header=False, box=None, pad_edge=False)
        for name, line in kinds[kind]().items():
            table.add_row(f"  {name}", line)
        out.print(table)


def _kernels() -> dict[str, str]:
    """The operations, and what would run here: of the backends that each has, in brackets."""
    return {
        row.operation: f"{row.here:7} ({', '.join(row.backends)})  {row.summary}"
        for row in operations()
    }


def _classes(module: ModuleType, kind: type) -> dict[str, str]:
    """The concrete classes of a kind that a package exports, with the first line of their text."""
    members = inspect.getmembers(module, inspect.isclass)
    return {
        name: (inspect.getdoc(member) or "").splitlines()[0]
        for name, member in members
        if issubclass(member, kind) and not inspect.isabstract(member)
    }


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGINT or SIGTERM into a request to stop; a second one quits at once."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(130)
        asked = True

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Advance], None]]:
    """A progress bar on standard error where that is a terminal, else a line a batch."""
    if quiet:
        yield lambda advance: None
    elif not err.is_terminal:
        yield _lines()
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("", total=1.0)

            def on_advance(advance: Advance) -> None:
                share = (advance.done + advance.share) / advance.batches
                progress.update(task, description=advance.what, completed=share)

            yield on_advance


def _lines() -> Callable[[Advance], None]:
    """Progress for a log file: one line when a batch begins."""
    last = -1

    def on_advance(advance: Advance) -> None:
        nonlocal last
        if advance.done != last:
            last = advance.done
            line = f"[{advance.done + 1}/{advance.batches}] {advance.what}"
            err.print(line, soft_wrap=True)

    return on_advance
