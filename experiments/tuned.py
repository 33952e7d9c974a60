"""Choosing: which variant and step size of a method was first to the target on the tuning seeds."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd


class Goal(NamedTuple):
    """What a run is for: to bring `measure` down to `target`, counted in time or in bits."""

    target: float
    axis: Literal["time", "bits"] = "time"
    measure: Literal["grad_norm2", "value"] = "grad_norm2"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Goal":
        """The goal in the configuration of a run."""
        return cls(
            config["target"], config.get("axis", "time"), config.get("measure", "grad_norm2")
        )

    @property
    def cost(self) -> str:
        """The column that says what a run needed, such as `time_to_target`."""
        return f"{self.axis}_to_target"

    def __str__(self) -> str:
        """As in `‖∇f(x)‖² ≤ 0.01`."""
        return f"{'‖∇f(x)‖²' if self.measure == 'grad_norm2' else 'f(x)'} ≤ {self.target:g}"


class Best(NamedTuple):
    """The chosen variant and step size, and among how many pairs it was chosen.

    `factor` is the step size in units of theory's, or the step size itself where theory gives none.
    """

    variant: str
    step_size: float
    factor: float
    trials: int
    at_edge: bool


def times_to_target(runs: pd.DataFrame, traces: pd.DataFrame, goal: Goal) -> pd.DataFrame:
    """One row a run: `time_to_target` and `bits_to_target` (infinite where it is never reached).

    The target is reached at the first record at which the measure is at most the target. `least` is
    the smallest measure seen, `last` and `last_bits` where the run ended. Traces are sorted by
    record.
    """
    measure = traces[goal.measure].fillna(np.inf)
    finite = traces.assign(run_id=traces["run_id"].astype(str), measure=measure)
    below = finite[measure <= goal.target].groupby("run_id")
    every = finite.groupby("run_id")
    table = pd.DataFrame(
        {
            "time_to_target": below["time"].first(),
            "bits_to_target": below["bits_up"].first(),
            "least": every["measure"].min(),
            "last": every["time"].last(),
            "last_bits": every["bits_up"].last(),
        }
    )
    joined = runs.join(table, on="run_id")
    columns = ["time_to_target", "bits_to_target", "least"]
    joined[columns] = joined[columns].astype(float).fillna(np.inf)
    return joined


def best(
    runs: pd.DataFrame, traces: pd.DataFrame, regime: str, label: str, goal: Goal
) -> Best | None:
    """The pair with the least median cost of the target over the tuning seeds.

    Of an even number the upper median: it is known when more than half of the runs are there,
    which is when tuning ends. Ties, and pairs that never reach it, are ordered by the median of
    the smallest measure seen. `None` where no tuning run of the method has a trace.
    """
    mine = runs[(runs["phase"] == "tune") & (runs["regime"] == regime) & (runs["method"] == label)]
    measured = times_to_target(mine, traces[traces["run_id"].isin(mine["run_id"])], goal)
    measured = measured[np.isfinite(measured["least"])]
    if measured.empty:
        return None
    medians = (
        measured.groupby(["variant", "step_size", "factor"])[[goal.cost, "least"]]
        .quantile(0.5, interpolation="higher")
        .sort_values([goal.cost, "least", "factor"])
        .reset_index()
    )
    grid = mine["factor"]
    chosen = medians.iloc[0]
    factor = float(chosen["factor"])
    trials = len(mine[["variant", "factor"]].drop_duplicates())
    at_edge = factor in (grid.min(), grid.max())
    return Best(str(chosen["variant"]), float(chosen["step_size"]), factor, trials, at_edge)
