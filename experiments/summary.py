"""The table of a study: which method was first, by how much, and what theory says."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from dopt.errors import DataError
from dopt.results.read import load
from experiments.study import Study
from experiments.theory import Bound, Setting, lower_bound, setting_of, upper_bound
from experiments.tuned import best, times_to_target


def summarize(study: Study, folder: Path) -> pd.DataFrame:
    """One row a regime and method, first to the target on top; also written as summary.csv.

    Times are virtual seconds, medians over the reporting seeds; infinite where the median run
    never reaches the target within the time it had (`censored` of `seeds` runs).
    """
    runs, traces = load(folder)
    setting = setting_of(study.problem, study.target)
    rows = []
    for regime in study.regimes:
        mine = [
            row
            for entry in study.entries
            if (row := _row(study, runs, traces, regime.name, entry.label, setting)) is not None
        ]
        mine.sort(key=lambda row: (row["time_to_target"], row["least_grad_norm2"]))
        first = mine[0]["time_to_target"] if mine else math.inf
        for row in mine:
            reached = math.isfinite(row["time_to_target"]) and first > 0
            row["ratio_to_first"] = row["time_to_target"] / first if reached else math.inf
        rows += mine
    if not rows:
        raise DataError(f"there are no finished runs in {folder} yet; run the sweep to its end")
    table = pd.DataFrame(rows)
    table.to_csv(folder / "summary.csv", index=False)
    return table


def _row(
    study: Study,
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    regime: str,
    label: str,
    setting: Setting,
) -> dict[str, Any] | None:
    chosen = best(runs, traces, regime, label, study.target)
    mine = runs[
        (runs["phase"] == "report") & (runs["regime"] == regime) & (runs["method"] == label)
    ]
    if chosen is None or mine.empty:
        return None
    mine = mine[(mine["variant"] == chosen.variant) & (mine["step_size"] == chosen.step_size)]
    measured = times_to_target(mine, traces[traces["run_id"].isin(mine["run_id"])], study.target)
    n = int(json.loads(mine["config"].iloc[0])["n"])
    bound, lowest = _theory(study, regime, label, chosen.variant, setting)
    reached = np.isfinite(measured["time_to_target"])
    return {
        "regime": regime,
        "method": label,
        "variant": chosen.variant,
        "step_size": chosen.step_size,
        "at_edge": chosen.at_edge,
        "trials": chosen.trials,
        "time_to_target": _median(measured["time_to_target"]),
        "ratio_to_first": math.inf,
        "seeds": len(measured),
        "censored": int((~reached).sum()),
        "time_given": float(measured["last"].max()),
        "bits_to_target": _median(measured["bits_to_target"]) / n,
        "least_grad_norm2": _median(measured["least"]),
        "theory_step_size": bound.step_size,
        "theory_upper_bound": bound.seconds,
        "worst_case_order": lowest,
    }


def _median(values: pd.Series) -> float:
    """The median, where infinite entries count as later than all others."""
    ordered = np.sort(values.to_numpy(float))
    return float(ordered[len(ordered) // 2]) if len(ordered) else math.inf


def _theory(
    study: Study, regime: str, label: str, variant: str, setting: Setting
) -> tuple[Bound, float]:
    where = next(r for r in study.regimes if r.name == regime)
    entry = next(e for e in study.entries if e.label == label)
    method = next(v.method for v in entry.variants if v.name == variant)
    d, dtype = study.problem.d, study.problem.dtype
    bits = method.compressor.nbits(d, dtype)
    costs = where.cluster.costs(d=d, dtype=dtype, message_bits=bits)
    one = where.cluster.costs(d=d, dtype=dtype, message_bits=8 * np.dtype(dtype).itemsize)
    return upper_bound(method, costs, setting), lower_bound(one, setting)


def seconds(value: float) -> str:
    """A virtual time for reading."""
    return f"{value:,.3g}" if value < 1e4 else f"{value:,.0f}" if value < 1e7 else f"{value:.2g}"


def _power(step_size: float) -> str:
    exponent = math.log2(step_size)
    return f"2^{exponent:.0f}" if exponent == round(exponent) else f"{step_size:.3g}"


def show(table: pd.DataFrame, target: float, console: Console) -> None:
    """Prints the table."""
    out = Table(
        title=f"Virtual time to ‖∇f(x)‖² ≤ {target:g} (medians over reporting seeds)",
        caption=(
            "* step size at the edge of the grid.  > never reached within the time shown "
            "(censored).  Theory: bound of the method's own theorem at theory's step size, with "
            "the problem's declared constants.  Worst case: order of the lower bound, constant 1."
        ),
        caption_justify="left",
        title_justify="left",
        pad_edge=False,
    )
    right = ("step size", "trials", "time [s]", "ratio", "bits/worker", "theory ≤ [s]", "worst case")
    for name in ("regime", "method", "variant"):
        out.add_column(name, no_wrap=True)
    for name in right:
        out.add_column(name, justify="right", no_wrap=True)
    previous = None
    for row in table.to_dict("records"):
        if previous not in (None, row["regime"]):
            out.add_section()
        reached = math.isfinite(row["time_to_target"])
        time = seconds(row["time_to_target"]) if reached else f"> {seconds(row['time_given'])}"
        if reached and row["censored"]:
            time += f" ({row['censored']} of {row['seeds']} >)"
        out.add_row(
            "" if row["regime"] == previous else str(row["regime"]),
            str(row["method"]),
            str(row["variant"]),
            _power(row["step_size"]) + ("*" if row["at_edge"] else ""),
            str(row["trials"]),
            time,
            f"{row['ratio_to_first']:.2f}" if reached else "",
            f"{row['bits_to_target']:.2g}" if reached else "",
            seconds(row["theory_upper_bound"]),
            seconds(row["worst_case_order"]),
        )
        previous = row["regime"]
    console.print(out)
