"""From the tables of a results folder to curves: report runs by regime and method, and quartiles.

Read are, of the table `runs`, phase, regime, method, variant, step sizes and status, and of a
config `cluster.n` and, where they are there, the goal and a regime's title, order and row.
"""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dopt.errors import DataError
from dopt.results import Status
from dopt.results.read import load
from experiments.tuned import Goal, best


log = logging.getLogger("dopt")

WORST = 1e300
"""Stands for infinity, so that quartiles can be interpolated."""

SEEDS = ("data_seed", "timeline_seed")


class Run(NamedTuple):
    """The records of one run; their column `bits_per_worker` is the mean sent up by a worker."""

    records: pd.DataFrame
    diverged: bool


@dataclass(frozen=True)
class Regime:
    """One panel: the report runs of each method, and the step size that they used.

    A method whose server never moved has a step size and no runs; it has a factor where its step
    size is that many times theory's.
    """

    title: str
    row: int
    goal: Goal | None
    runs: dict[str, list[Run]]
    step_sizes: dict[str, float]
    factors: dict[str, float]


class Curve(NamedTuple):
    """The quartiles of a quantity over runs, at the `x` of their records, from 0 on."""

    x: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    median: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def read_regimes(folder: Path) -> list[Regime]:
    """The report runs in `folder`, regime by regime, each method at its best step size.

    Raises:
        DataError: no results, no report run that was finished and moved its server, or runs of
            several studies.
    """
    command = f"`dopt sweep heterogeneity --out {folder}`"
    try:
        runs, traces = load(folder)
    except DataError as nothing:
        raise DataError(f"{nothing}, or run a study: {command}") from None
    unfinished = runs["status"].isin([status for status in Status if not status.is_final])
    reports = runs[(runs["phase"] == "report") & ~unfinished]
    kept = traces[traces["run_id"].isin(reports["run_id"])]
    if not (kept["time"] > 0).any():
        raise DataError(
            f"there is no finished report run with a server step in {folder}; run its study to "
            f"the end, such as {command}: it goes on where it was stopped"
        )
    if unfinished.any():
        log.warning("%d interrupted or failed runs are left out of the figures", unfinished.sum())
    records = {str(name): rows for name, rows in kept.groupby("run_id", observed=True)}
    regimes = []
    for name, rows in reports.groupby("regime", sort=False):
        config = json.loads(rows["config"].iloc[0])
        methods = {
            str(method): _chosen(mine, runs, traces, f"{method} in regime {name}")
            for method, mine in rows.groupby("method")
        }
        moved = {method: _runs(mine, records) for method, mine in methods.items()}
        regime = Regime(
            title=config.get("regime_title", str(name)),
            row=config.get("regime_row", 0),
            goal=_goal(config),
            runs={method: found for method, found in moved.items() if found},
            step_sizes={m: float(mine["step_size"].iloc[0]) for m, mine in methods.items()},
            factors={
                m: float(mine["factor"].iloc[0])
                for m, mine in methods.items()
                if mine["theory_step_size"].notna().all()
            },
        )
        regimes.append((config.get("regime_order", 0), regime))
    return [regime for _, regime in sorted(regimes, key=lambda pair: pair[0])]


def _goal(config: dict[str, Any]) -> Goal | None:
    return None if config.get("target") is None else Goal.of(config)


def quartiles(runs: list[Run], x: str, y: str) -> Curve:
    """The quartiles of column `y` against column `x`, as far as all runs go that did not diverge.

    Between two records of a run its value is that of the earlier one. A run that diverged counts
    as the worst; where the median run has, the curve ends, at `WORST` (of accuracy, at its
    negative).
    """
    xs = [run.records[x].to_numpy(float) for run in runs]
    ends = [at[-1] for at, run in zip(xs, runs, strict=True) if not run.diverged]
    grid = np.unique(np.concatenate(xs))
    grid = grid[(grid >= max(at[0] for at in xs)) & (grid <= min(ends, default=math.inf))]
    values = np.empty((len(runs), len(grid)))
    for row, run, at in zip(values, runs, xs, strict=True):
        row[:] = run.records[y].to_numpy(float)[np.searchsorted(at, grid, "right") - 1]
        row[grid > at[-1]] = np.nan
    worst = -WORST if y == "accuracy" else WORST
    ranked = np.nan_to_num(values, nan=worst, posinf=worst)
    low, median, high = np.quantile(ranked, (0.25, 0.5, 0.75), axis=0)
    shown = np.cumsum(median == worst) <= 1
    return Curve(grid[shown], low[shown], median[shown], high[shown])


def first_at_target(runs: list[Run], x: str, goal: Goal) -> float:
    """The median over runs of the first `x` at which the measure is at most the target.

    Of an even number, the upper median; a run that never comes there counts as infinitely late.
    """
    firsts = []
    for run in runs:
        reached = (run.records[goal.measure] <= goal.target).to_numpy()
        firsts.append(run.records[x].iloc[reached.argmax()] if reached.any() else math.inf)
    return float(sorted(firsts)[len(firsts) // 2])


def _chosen(
    mine: pd.DataFrame, runs: pd.DataFrame, traces: pd.DataFrame, what: str
) -> pd.DataFrame:
    """Of the report runs `mine` of one method, those of the variant and step size tuning chose."""
    first = mine.iloc[0]
    if len(mine[["variant", "step_size"]].drop_duplicates()) > 1:
        goal = _goal(json.loads(first["config"])) or Goal(0.0)
        choice = best(runs, traces, first["regime"], first["method"], goal)
        if choice is not None:
            pair = (mine["variant"] == choice.variant) & (mine["step_size"] == choice.step_size)
            if not pair.any():
                raise DataError(
                    f"the best step size of {what}, {choice.step_size:g}, has no report run yet; "
                    "run the study again, it computes only what is missing"
                )
            mine = mine[pair]
    configs = [_without_seeds(text) for text in mine["config"]]
    differing = {
        key
        for config in configs
        for key in config.keys() | configs[0].keys()
        if config.get(key) != configs[0].get(key)
    }
    if differing:
        raise DataError(
            f"the report runs of {what} differ in {', '.join(sorted(differing))}, and a curve "
            "is taken over seeds alone; give each study a folder of its own"
        )
    return mine


def _without_seeds(config: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads(config).items() if key not in SEEDS}


def _runs(mine: pd.DataFrame, records: dict[str, pd.DataFrame]) -> list[Run]:
    """The runs that have records."""
    try:
        n = int(json.loads(mine["config"].iloc[0])["cluster"]["n"])
    except (KeyError, TypeError):
        raise DataError(
            f"run {mine['run_id'].iloc[0]} has no cluster.n in its config, the number of workers "
            "over which bits are averaged; write it there as Cluster.to_config gives it"
        ) from None
    found = []
    for name, status in zip(mine["run_id"], mine["status"], strict=True):
        if name in records:
            trace = records[name]
            with_bits = trace.assign(bits_per_worker=trace["bits_up"] / n)
            found.append(Run(with_bits, status == Status.DIVERGED))
    return found
