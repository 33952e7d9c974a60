"""The command `dopt measure-cluster`: the cluster that Ray runs on as a file for every study."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from dopt.errors import DataError
from dopt.versions import versions
from experiments.advance import Advance
from experiments.builders import study_of
from experiments.options import MeasureOptions
from experiments.settings import STUDIES
from experiments.study import Regime
from experiments.terminal import out, progress, say, signals
from simulators import measuring
from simulators.cluster_file import write_cluster
from simulators.link_times import WAYS, Line
from simulators.measuring import Measured
from simulators.ray_session import LOCAL, session


MEGABYTE = 8e6
"""Bits."""


def measure(given: MeasureOptions[Any]) -> None:
    """Measures the nodes, writes the cluster and all measurements, and prints a table.

    The problem is that of the study's first regime.

    Raises:
        ConfigurationError: settings that no study can be made of, or no Ray.
        DataError: data that are not there, or a file that cannot be written.
        DoptError: no worker could be measured.
        InterruptedRunError: the user asked to stop.
    """
    paths = given.out, given.out.with_suffix(".parquet")
    _check(*paths)
    study = study_of(given.settings, given.data)
    regime = study.regimes[0]
    with (
        signals() as stopping,
        progress(given.quiet) as on_advance,
        session(given.ray or LOCAL) as joined,
    ):
        if not joined.own:
            say(f"{len(joined.nodes())} nodes at {joined.address}")

        def on_state(what: str, share: float) -> None:
            phases = measuring.PHASES
            on_advance(Advance(phases.index(what), len(phases), share, what))

        found = measuring.measure(
            regime.problem,
            workers_per_node=given.workers_per_node,
            seconds=given.seconds,
            gpus=given.worker_gpus,
            stopping=stopping,
            on_state=on_state,
        )
    for sentence in found.lost:
        say(f"left out: {sentence}")
    _write(found, regime, *paths)
    _show(found, regime)
    name = next(name for name, kind in STUDIES.items() if kind.settings is type(given.settings))
    out.print(
        f"In {given.out}: the medians; in {paths[1]}: {len(found.samples):,} measurements. Next:\n"
        f"  dopt sweep {name} --preset {given.preset} --cluster {given.out} --out results",
        soft_wrap=True,
    )


def _check(cluster: Path, samples: Path) -> None:
    """Refuses names that nothing can be written to, before anything is measured."""
    if cluster == samples:
        raise DataError(f"{cluster}: the measurements get this name; give one that ends in .csv")
    for path in (cluster, samples):
        if path.is_dir():
            raise DataError(f"{path} is a folder; give the name of a file with --out")
    if not cluster.parent.is_dir():
        raise DataError(f"{cluster}: there is no folder {cluster.parent}; make it first")


def _write(found: Measured, regime: Regime, cluster: Path, samples: Path) -> None:
    """The medians with their spreads as comments, and every measurement."""
    names = ", ".join(f"{name} {version}" for name, version in versions().items())
    problem = ", ".join(f"{key} {value}" for key, value in regime.problem_config.items())
    comments = [
        f"measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by dopt measure-cluster on Ray; medians",
        f"driver: {platform.node()}; versions: {names}",
        f"problem: {problem}",
        *(f"left out: {sentence}" for sentence in found.lost),
        *_spreads(found),
    ]
    write_cluster(cluster, found.cluster, workers=found.workers, comments=comments)
    try:
        found.samples.to_parquet(samples, index=False)
    except OSError as error:
        raise DataError(f"{samples}: cannot be written: {error.strerror or error}") from None


def _spreads(found: Measured) -> list[str]:
    """A line a worker: quartiles of its gradients and empty messages, intervals of its links."""
    lines = []
    for worker, of in zip(found.workers, found.lines, strict=True):
        parts = [f"h quartiles {_range(_quartiles(found, worker, 'gradient'))} s"]
        for name, line in (("uplink", of["up"]), ("downlink", of["down"])):
            within = f"95 % interval {_range((line.low, line.high))} s/bit"
            parts.append(f"{name} {'at most, ' if line.bound else ''}{within}")
        half = [seconds / 2 for seconds in _quartiles(found, worker, *WAYS)]
        parts.append(f"latency quartiles {_range(half)} s")
        lines.append(f"{worker}: {'; '.join(parts)}")
    return lines


def _show(found: Measured, regime: Regime) -> None:
    """The table in milliseconds: medians, and in brackets their spreads."""
    table = Table(
        title=f"Milliseconds: real gradients ({regime.problem_config['name']}, d = "
        f"{regime.problem.d:,}) and real messages; medians with quartiles, a megabyte's slope with "
        "its 95 % interval"
    )
    for column in ("worker", "gradient", "empty message", "MB up", "MB down", "line off by"):
        table.add_column(column, no_wrap=True)
    cluster = found.cluster
    for k, (worker, of) in enumerate(zip(found.workers, found.lines, strict=True)):
        half = [seconds / 2 for seconds in _quartiles(found, worker, *WAYS)]
        table.add_row(
            worker,
            _spread(cluster.h[k], _quartiles(found, worker, "gradient")),
            _spread(cluster.latency[k], half),
            *(_of_megabyte(of[way]) for way in ("up", "down")),
            f"{max(line.misfit for line in of.values()):.0%}",
        )
    out.print(table)
    out.print(
        "An empty message is half a round trip of Ray without data; the last column is the largest "
        "error of this latency and the slope at the medians of all sizes.",
        soft_wrap=True,
    )
    for worker, of in zip(found.workers, found.lines, strict=True):
        for way, line in of.items():
            if line.bound:
                out.print(
                    f"{worker}, {way}: larger messages took no longer; the file has the upper end "
                    f"of the interval, {line.per_bit * MEGABYTE:.3g} s/MB",
                    soft_wrap=True,
                )


def _of_megabyte(line: Line) -> str:
    spread = _spread(line.per_bit * MEGABYTE, [line.low * MEGABYTE, line.high * MEGABYTE])
    return f"at most {spread}" if line.bound else spread


def _spread(middle: float, ends: Sequence[float]) -> str:
    """Milliseconds."""
    low, high = (f"{1e3 * end:.3g}" for end in ends)
    return f"{1e3 * middle:.3g} ({low}, {high})"


def _quartiles(found: Measured, worker: str, *what: str) -> tuple[float, float]:
    """Of the seconds of a worker's gradients, or of its empty round trips."""
    samples: pd.DataFrame = found.samples
    chosen = (samples["worker"] == worker) & samples["what"].isin(what) & (samples["bytes"] == 0)
    low, high = samples.loc[chosen, "seconds"].quantile([0.25, 0.75])
    return float(low), float(high)


def _range(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3g} to {ends[1]:.3g}"
