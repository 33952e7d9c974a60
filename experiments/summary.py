"""The table of a study: which method was first, by how much, and what theory says."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from dopt.results import Status
from dopt.results.read import load
from experiments.study import Entry, Regime, Study, Variant
from experiments.theory import Bound, Setting, bits_bound, lower_bound, setting_of, upper_bound
from experiments.tuned import Goal, times_to_target


def summarize(study: Study, folder: Path) -> pd.DataFrame:
    """One row a regime and method, first to the target on top; also written as summary.csv.

    Times are virtual seconds and bits those of one worker, medians over the reporting seeds;
    infinite where the median run never reaches the target within what it had (`censored` of `seeds`
    runs). First is who needs least of what the study's `axis` counts.
    """
    runs, traces = load(folder)
    cost = study.goal.cost
    rows = []
    for regime in study.regimes:
        setting = setting_of(regime.problem, study.target)
        mine = [_row(study, runs, traces, regime, entry, setting) for entry in regime.entries]
        mine.sort(key=lambda row: (row[cost], row["least"]))
        first = mine[0][cost]
        for row in mine:
            reached = math.isfinite(row[cost]) and first > 0
            row["ratio_to_first"] = row[cost] / first if reached else math.inf
        rows += mine
    table = pd.DataFrame(rows)
    table.to_csv(folder / "summary.csv", index=False)
    return table


def _row(
    study: Study,
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    regime: Regime,
    entry: Entry,
    setting: Setting | None,
) -> dict[str, Any]:
    chosen = study.choice(regime, entry, runs, traces)
    attempts = runs[(runs["regime"] == regime.name) & (runs["method"] == entry.label)]
    mine = attempts[(attempts["phase"] == "report") & (attempts["status"] != Status.FAILED)]
    name = chosen.variant if chosen else entry.variants[0].name
    variant = next(v for v in entry.variants if v.name == name)
    bound, bits, lowest = _theory(study, regime, variant, setting)
    row = {
        "regime": regime.name,
        "method": entry.label,
        "variant": "",
        "step_size": math.nan,
        "factor": math.nan,
        "theory_step_size": bound.step_size if variant.theory is None else variant.theory,
        "at_edge": False,
        "trials": 0,
        "time_to_target": math.inf,
        "bits_to_target": math.inf,
        "ratio_to_first": math.inf,
        "seeds": 0,
        "censored": 0,
        "failed": int((attempts["status"] == Status.FAILED).sum()),
        "time_given": 0.0,
        "bits_given": 0.0,
        "least": math.inf,
        "accuracy": math.nan,
        "theory_upper_bound": bound.seconds,
        "theory_bits": bits,
        "worst_case_order": lowest,
    }
    if chosen is None:
        return row
    mine = mine[(mine["variant"] == chosen.variant) & (mine["factor"] == chosen.factor)]
    if mine.empty:
        return row
    kept = traces[traces["run_id"].isin(mine["run_id"])]
    measured = times_to_target(mine, kept, study.goal)
    n = regime.cluster.n
    return row | {
        "variant": chosen.variant,
        "step_size": chosen.step_size,
        "factor": chosen.factor if variant.theory else math.nan,
        "at_edge": chosen.at_edge,
        "trials": chosen.trials,
        "time_to_target": _median(measured["time_to_target"]),
        "bits_to_target": _median(measured["bits_to_target"]) / n,
        "seeds": len(measured),
        "censored": int((~np.isfinite(measured["time_to_target"])).sum()),
        "time_given": float(measured["last"].max()),
        "bits_given": float(measured["last_bits"].max()) / n,
        "least": _median(measured["least"]),
        "accuracy": float(kept.groupby("run_id", observed=True)["accuracy"].last().median()),
    }


def _median(values: pd.Series) -> float:
    """The median, where infinite entries count as later than all others."""
    ordered = np.sort(values.to_numpy(float))
    return float(ordered[len(ordered) // 2]) if len(ordered) else math.inf


def _theory(
    study: Study, regime: Regime, variant: Variant, setting: Setting | None
) -> tuple[Bound, float, float]:
    """Seconds and bits that suffice, and seconds that are needed in the worst case."""
    nothing = Bound(math.nan, math.nan), math.nan, math.nan
    if setting is None or study.measure != "grad_norm2":
        return nothing
    problem = regime.problem
    bits = 8 * np.dtype(problem.dtype).itemsize
    one = regime.cluster.costs(d=problem.d, dtype=problem.dtype, message_bits=bits)
    if one.varying:  # theorems are for fixed times
        return nothing
    costs = regime.costs(variant.method)
    bits_enough = bits_bound(variant.method, variant.theory, costs, setting)
    return upper_bound(variant.method, costs, setting), bits_enough, lower_bound(one, setting)


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


def _bits(value: float) -> str:
    """Bits for reading."""
    return f"{value:.2g}" if math.isfinite(value) else ""


class Column(NamedTuple):
    """A column of numbers: its head, and the text of a row."""

    head: str
    text: Callable[[dict[Any, Any]], str]


def _cost(axis: str) -> Column:
    """What a method needed of what the study counts, or that it did not reach the target."""
    number = seconds if axis == "time" else _bits

    def text(row: dict[Any, Any]) -> str:
        if not row["seeds"]:
            return "failed" if row["failed"] else "no step"
        needed = row[f"{axis}_to_target"]
        if not math.isfinite(needed):
            return f"> {number(row[f'{axis}_given'])}"
        return number(needed) + (
            f" ({row['censored']} of {row['seeds']} >)" if row["censored"] else ""
        )

    return Column("time [s]" if axis == "time" else "bits/worker", text)


def _other(axis: str) -> Column:
    """What it needed of the other."""
    if axis == "time":
        return Column("bits/worker", lambda row: _bits(row["bits_to_target"]))
    return Column(
        "time [s]",
        lambda row: seconds(row["time_to_target"]) if math.isfinite(row["bits_to_target"]) else "",
    )


def _columns(table: pd.DataFrame, goal: Goal) -> list[Column]:
    """The columns of numbers; those that nothing is known about are left out."""

    def ratio(row: dict[Any, Any]) -> str:
        return f"{row['ratio_to_first']:.2f}" if math.isfinite(row[goal.cost]) else ""

    def step_size(row: dict[Any, Any]) -> str:
        known = not math.isnan(row["factor"])
        text = f"{row['step_size']:.3g}" if known else _power(row["step_size"])
        return text + ("*" if row["at_edge"] else "")

    def factor(row: dict[Any, Any]) -> str:
        if math.isnan(row["factor"]):
            return ""
        return f"{'1' if row['factor'] == 1 else _power(row['factor'])} × theory"

    found = [
        Column("step size", step_size),
        *([Column("which is", factor)] if table["factor"].notna().any() else []),
        Column("trials", lambda row: str(row["trials"])),
        _cost(goal.axis),
        Column("ratio", ratio),
        _other(goal.axis),
    ]
    if table["accuracy"].notna().any():
        found.append(Column("accuracy", lambda row: f"{row['accuracy']:.3f}"))
    if goal.axis == "time" and table["worst_case_order"].notna().any():
        found.append(Column("theory ≤ [s]", lambda row: seconds(row["theory_upper_bound"])))
        found.append(Column("worst case", lambda row: seconds(row["worst_case_order"])))
    if goal.axis == "bits" and table["theory_bits"].notna().any():
        found.append(Column("theory ≤ [bits]", lambda row: _bits(row["theory_bits"])))
    return found


STARS = "* best step size at the edge of the grid; trials: variants × step sizes tried.\n"
CENSORED = (
    "> not reached within the {} shown (censored); no step: not even one server step;\n"
    "  failed: it could not be computed, see the column reason of runs.parquet.\n"
)
THEORY = (
    "theory ≤: what the method's theorem promises at theory's own step size, from the "
    "problem's declared constants.\n"
)
WORST = (
    "worst case: lower bound of compressed methods, order with constant 1; an easy problem "
    "may beat it."
)


def show(table: pd.DataFrame, goal: Goal, console: Console) -> None:
    """Prints the table."""
    columns = _columns(table, goal)
    counted = {"time": "Virtual time", "bits": "Bits sent up by a worker"}[goal.axis]
    caption = STARS + CENSORED.format("time" if goal.axis == "time" else "bits")
    heads = {column.head for column in columns}
    if heads & {"theory ≤ [s]", "theory ≤ [bits]"}:
        caption += THEORY
    if "worst case" in heads:
        caption += WORST
    out = Table(
        title=f"{counted} to {goal} (medians over reporting seeds)",
        caption=caption.rstrip(),
        caption_justify="left",
        title_justify="left",
        pad_edge=False,
    )
    for name in ("regime", "method", "variant"):
        out.add_column(name, no_wrap=True)
    for column in columns:
        out.add_column(column.head, justify="right", no_wrap=True)
    previous = None
    for row in map(dict, table.to_dict("records")):
        if previous not in (None, row["regime"]):
            out.add_section()
        out.add_row(
            "" if row["regime"] == previous else str(row["regime"]),
            str(row["method"]),
            str(row["variant"]),
            *(column.text(row) for column in columns),
        )
        previous = row["regime"]
    # A terminal too narrow for it breaks the lines, where rich would cut numbers off.
    out.width = console.measure(out, options=console.options.update(width=1000)).maximum
    console.print(out, crop=False)
