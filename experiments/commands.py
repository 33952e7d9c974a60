"""What the commands of `dopt` do."""

import inspect
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pandas as pd
from rich.table import Table

import compressors
import dopt.methods
import dopt.problems
from compressors import Compressor
from compressors.kernels import operations
from dopt.errors import DataError, DoptError
from dopt.methods import Method
from dopt.problems import Problem
from dopt.results.mirrors import mirrored
from dopt.results.read import load
from dopt.results.store import Store
from experiments import check_compressors, compressor_pictures, kimad_rounds, quantizers
from experiments.benchmarks import compressors as compressors_benchmark
from experiments.benchmarks import simulator
from experiments.builders import study_of
from experiments.executors import OnRay
from experiments.figures import draw
from experiments.kimad_figures import draw_bandwidth, draw_rounds
from experiments.kimad_layers_figure import draw_layers
from experiments.kimad_traces_figure import draw_traces, table_of_traces
from experiments.options import SweepOptions
from experiments.runner import Runner
from experiments.settings import STUDIES
from experiments.study import Study
from experiments.summary import show, summarize
from experiments.terminal import out, progress, say, signals
from experiments.tuned import Goal
from simulators.presets import PRESETS as CLUSTERS
from simulators.ray_session import session
from simulators.ray_tasks import Need


ONE = Need()
"""A processor for each task, and as many threads as here."""

TRACES = "kimad-traces"
KIMAD_FIGURES: dict[str, tuple[Callable[[Path], list[Path]], ...]] = {
    "rounds.parquet": (draw_bandwidth, draw_rounds),
    "layers.parquet": (draw_layers,),
}
"""What is drawn of each of the tables beside those of runs."""


def sweep(given: SweepOptions) -> None:
    """Builds the study, runs what is missing, draws and prints."""
    study = study_of(given.settings, given.data)
    need = Need(given.task_cpus, given.task_gpus, given.task_threads)
    run(study, given.out, ray=given.ray, need=need, quiet=given.quiet)
    with mirrored(given.out) as folder:
        table = summarize(study, folder)
        if study.name.startswith("kimad-") and study.name != TRACES:
            kimad_rounds.write(study, folder)
        paths = _figures(study.name, table, folder)
    _show(study.name, table, study.goal)
    _say_where(given.out, paths)
    failed = int(table["failed"].sum())
    if failed:
        raise DoptError(
            f"{failed} runs failed, for the reasons given above and in the column `reason` of "
            "runs.parquet; the table is without them, and the same command tries them again"
        )


def run(
    study: Study, out: str, *, ray: str | None = None, need: Need = ONE, quiet: bool = False
) -> None:
    """Runs what is missing of a study in a folder, in this process or on Ray.

    Args:
        study: what to run.
        out: its folder, or an address.
        ray: the address of a Ray, `"local"` for one of our own, `None` for this process.
        need: of each task on Ray.
        quiet: no progress.
    """
    with (
        Store(out) as store,
        nullcontext() if ray is None else session(ray),
        # After Ray has begun: it takes SIGTERM for itself.
        signals() as stopping,
        progress(quiet) as on_advance,
    ):
        executor = None if ray is None else OnRay(study, need)
        Runner(study, store, on_advance, stopping, executor).run()


def plot(where: str) -> None:
    """Draws the figures of a folder of results again and prints its table."""
    with mirrored(where) as folder:
        if not (folder / "summary.csv").exists():
            draw(folder)
            raise DataError(
                f"{where} has figures now but no summary.csv: its sweep did not end; run the same "
                "sweep again, it computes only what is missing"
            )
        table = pd.read_csv(folder / "summary.csv").fillna({"variant": ""})
        if "factor" not in table:
            draw(folder)
            raise DataError(
                f"{where} has figures now, but an older version wrote its summary.csv; sweep into "
                "another folder for its table"
            )
        runs, _ = load(folder)
        study = str(runs["study"].iloc[0])
        paths = _figures(study, table, folder)
    _show(study, table, Goal.of(json.loads(runs["config"].iloc[0])))
    _say_where(where, paths)


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


def _say_where(folder: str, paths: list[Path]) -> None:
    names = ", ".join(path.name for path in paths if path.suffix == ".png")
    files = f"runs.parquet, traces.parquet, summary.csv, {names} (and PDF)"
    out.print(f"In {folder}: {files}", soft_wrap=True)


def bench(workloads: Sequence[str], pairs: int, file: Path | None) -> None:
    """Measures the simulator and prints the table."""
    simulator.bench(workloads, pairs, file, out, say)


def check(names: Sequence[str], d: int, draws: int | None, seed: int) -> None:
    """Checks operators and prints the table."""
    check_compressors.check(names, d=d, draws=draws, seed=seed, out=out, say=say)


def bench_compressors(names: Sequence[str], dims: Sequence[int], file: Path | None) -> None:
    """Measures operators and prints the table."""
    compressors_benchmark.bench(names, dims, file, out, say)


def plot_compressors(folder: Path, data: str | None) -> None:
    """Measures the errors of operators and draws them."""
    paths = compressor_pictures.draw(folder, data, say)
    out.print(f"In {folder}: {', '.join(path.name for path in paths)}", soft_wrap=True)


def plot_quantizers(folder: Path) -> None:
    """Draws what correlated quantization saves in theory."""
    paths = quantizers.draw(folder)
    out.print(f"In {folder}: {', '.join(path.name for path in paths)}", soft_wrap=True)


def bench_kernels(names: Sequence[str], sizes: Sequence[int], file: Path | None) -> None:
    """Measures kernels and prints the table."""
    from experiments.benchmarks import kernels

    kernels.bench(names, sizes, file, lambda text: out.print(text, soft_wrap=True), say)


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
