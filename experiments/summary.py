"""The table of a study: which method was first, by how much, and what theory says."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from dopt.results import Status
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
            _row(study, runs, traces, regime.name, entry.label, setting) for entry in study.entries
        ]
        mine.sort(key=lambda row: (row["time_to_target"], row["least_grad_norm2"]))
        first = mine[0]["time_to_target"]
        for row in mine:
            reached = math.isfinite(row["time_to_target"]) and first > 0
            row["ratio_to_first"] = row["time_to_target"] / first if reached else math.inf
        rows += mine
    table = pd.DataFrame(rows)
    table.to_csv(folder / "summary.csv", index=False)
    return table


def _row(
    study: Study,
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    regime: str,
    label: str,
    setting: Setting | None,
) -> dict[str, Any]:
    chosen = best(runs, traces, regime, label, study.target)
    attempts = runs[(runs["regime"] == regime) & (runs["method"] == label)]
    mine = attempts[(attempts["phase"] == "report") & (attempts["status"] != Status.FAILED)]
    bound, lowest = _theory(study, regime, label, chosen.variant if chosen else None, setting)
    row = {
        "regime": regime,
        "method": label,
        "variant": "",
        "step_size": math.nan,
        "at_edge": False,
        "trials": 0,
        "time_to_target": math.inf,
        "ratio_to_first": math.inf,
        "seeds": 0,
        "censored": 0,
        "failed": int((attempts["status"] == Status.FAILED).sum()),
        "time_given": 0.0,
        "bits_to_target": math.inf,
        "least_grad_norm2": math.inf,
        "theory_step_size": bound.step_size,
        "theory_upper_bound": bound.seconds,
        "worst_case_order": lowest,
    }
    if chosen is None:
        return row
    mine = mine[(mine["variant"] == chosen.variant) & (mine["step_size"] == chosen.step_size)]
    if mine.empty:
        return row
    measured = times_to_target(mine, traces[traces["run_id"].isin(mine["run_id"])], study.target)
    n = int(json.loads(mine["config"].iloc[0])["n"])
    return row | {
        "variant": chosen.variant,
        "step_size": chosen.step_size,
        "at_edge": chosen.at_edge,
        "trials": chosen.trials,
        "time_to_target": _median(measured["time_to_target"]),
        "seeds": len(measured),
        "censored": int((~np.isfinite(measured["time_to_target"])).sum()),
        "time_given": float(measured["last"].max()),
        "bits_to_target": _median(measured["bits_to_target"]) / n,
        "least_grad_norm2": _median(measured["least"]),
    }


def _median(values: pd.Series) -> float:
    """The median, where infinite entries count as later than all others."""
    ordered = np.sort(values.to_numpy(float))
    return float(ordered[len(ordered) // 2]) if len(ordered) else math.inf


def _theory(
    study: Study, regime: str, label: str, variant: str | None, setting: Setting | None
) -> tuple[Bound, float]:
    if setting is None:
        return Bound(math.nan, math.nan), math.nan
    where = next(r for r in study.regimes if r.name == regime)
    entry = next(e for e in study.entries if e.label == label)
    method = next(v.method for v in entry.variants if variant in (v.name, None))
    d, dtype = study.problem.d, study.problem.dtype
    bits = method.compressor.nbits(d, dtype)
    costs = where.cluster.costs(d=d, dtype=dtype, message_bits=bits)
    one = where.cluster.costs(d=d, dtype=dtype, message_bits=8 * np.dtype(dtype).itemsize)
    return upper_bound(method, costs, setting), lower_bound(one, setting)


def seconds(value: float) -> str:
    """A virtual time for reading."""
    if not math.isfinite(value):
        return "none" if value > 0 else ""
    return f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}" if value < 1e7 else f"{value:.1e}"


def _power(step_size: float) -> str:
    if math.isnan(step_size):
        return ""
    exponent = math.log2(step_size)
    return f"2^{exponent:.0f}" if exponent == round(exponent) else f"{step_size:.3g}"


def show(table: pd.DataFrame, target: float, console: Console) -> None:
    """Prints the table."""
    out = Table(
        title=f"Virtual time to ‖∇f(x)‖² ≤ {target:g} (medians over reporting seeds)",
        caption=(
            "* best step size at the edge of the grid; trials: variants × step sizes tried.\n"
            "> not reached within the time shown (censored); no step: not even one server step;\n"
            "  failed: it could not be computed, see the column reason of runs.parquet.\n"
            "theory ≤: what the method's theorem promises at theory's own step size, from the "
            "problem's declared constants.\n"
            "worst case: lower bound of compressed methods, order with constant 1; an easy problem "
            "may beat it."
        ),
        caption_justify="left",
        title_justify="left",
        pad_edge=False,
    )
    numbers = (
        "step size",
        "trials",
        "time [s]",
        "ratio",
        "bits/worker",
        "theory ≤ [s]",
        "worst case",
    )
    for name in ("regime", "method", "variant"):
        out.add_column(name, no_wrap=True)
    for name in numbers:
        out.add_column(name, justify="right", no_wrap=True)
    previous = None
    for row in table.to_dict("records"):
        if previous not in (None, row["regime"]):
            out.add_section()
        reached = math.isfinite(row["time_to_target"])
        time = seconds(row["time_to_target"]) if reached else f"> {seconds(row['time_given'])}"
        if not row["seeds"]:
            time = "failed" if row["failed"] else "no step"
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
    # A terminal too narrow for it breaks the lines, where rich would cut numbers off.
    out.width = console.measure(out, options=console.options.update(width=1000)).maximum
    console.print(out, crop=False)
