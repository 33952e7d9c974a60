"""Choosing: which variant and step size of a method was first to the target on the tuning seeds."""

from typing import NamedTuple

import numpy as np
import pandas as pd


class Best(NamedTuple):
    """The chosen variant and step size, and among how many pairs it was chosen."""

    variant: str
    step_size: float
    trials: int
    at_edge: bool


def times_to_target(runs: pd.DataFrame, traces: pd.DataFrame, target: float) -> pd.DataFrame:
    """One row a run: `time_to_target` and `bits_to_target` (infinite where it is never reached).

    The target is reached at the first record with ‖∇f(x)‖² ≤ target. `least` is the smallest
    squared norm seen, `last` the last virtual time. Traces are sorted by record.
    """
    norm2 = traces["grad_norm2"].fillna(np.inf)
    finite = traces.assign(run_id=traces["run_id"].astype(str), grad_norm2=norm2)
    below = finite[norm2 <= target].groupby("run_id")
    every = finite.groupby("run_id")
    table = pd.DataFrame(
        {
            "time_to_target": below["time"].first(),
            "bits_to_target": below["bits_up"].first(),
            "least": every["grad_norm2"].min(),
            "last": every["time"].last(),
        }
    )
    joined = runs.join(table, on="run_id")
    columns = ["time_to_target", "bits_to_target", "least"]
    joined[columns] = joined[columns].astype(float).fillna(np.inf)
    return joined


def best(
    runs: pd.DataFrame, traces: pd.DataFrame, regime: str, label: str, target: float
) -> Best | None:
    """The pair with the least median time to the target over the tuning seeds.

    Of an even number the upper median: it is known when more than half of the runs are there,
    which is when tuning ends. Ties, and pairs that never reach it, are ordered by the median of
    the smallest squared norm seen. `None` where no tuning run of the method has a trace.
    """
    mine = runs[(runs["phase"] == "tune") & (runs["regime"] == regime) & (runs["method"] == label)]
    measured = times_to_target(mine, traces[traces["run_id"].isin(mine["run_id"])], target)
    measured = measured[np.isfinite(measured["least"])]
    if measured.empty:
        return None
    medians = (
        measured.groupby(["variant", "step_size"])[["time_to_target", "least"]]
        .quantile(0.5, interpolation="higher")
        .sort_values(["time_to_target", "least", "step_size"])
        .reset_index()
    )
    grid = mine["step_size"]
    chosen = medians.iloc[0]
    step_size = float(chosen["step_size"])
    trials = len(mine[["variant", "step_size"]].drop_duplicates())
    return Best(str(chosen["variant"]), step_size, trials, step_size in (grid.min(), grid.max()))
