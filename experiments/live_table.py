"""The table of `dopt live`: what each method took for real, beside what the simulator says."""

import math
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table


CAPTION = (
    "real [s]: of these steps, start-up apart; simulated [s]: the simulator's answer, at the\n"
    "scale of the injected delays; bits up: of the arrays that arrived, beside what the simulator\n"
    "counts (with padding); memory: the peak of a process divided by its workers; replay: of the\n"
    "lived schedule, job by job, whose models are compared with those that were lived."
)

HEADS = (
    *("steps", "real [s]", "simulated [s]", "ratio", "messages", "bits up/worker", "simulated"),
    *("memory/worker", "replay"),
)


def show(runs: pd.DataFrame, console: Console) -> None:
    """Prints the table of the rows of `live.parquet`."""
    shown = Table(
        title="Lived on real workers, and what the simulator says",
        title_justify="left",
        caption=CAPTION,
        caption_justify="left",
        pad_edge=False,
    )
    for name in ("regime", "method", "status"):
        shown.add_column(name, no_wrap=True)
    for name in HEADS:
        shown.add_column(name, justify="right", no_wrap=True)
    previous = None
    for row in map(dict, runs.to_dict("records")):
        if previous not in (None, row["regime"]):
            shown.add_section()
        regime = "" if row["regime"] == previous else str(row["regime"])
        shown.add_row(regime, str(row["method"]), str(row["status"]), *_texts(row))
        previous = row["regime"]
    # A terminal too narrow for it breaks the lines, where rich would cut numbers off.
    shown.width = console.measure(shown, options=console.options.update(width=1000)).maximum
    console.print(shown, crop=False)


def _texts(row: dict[Any, Any]) -> list[str]:
    """The columns of numbers."""
    if not row["steps"]:
        return ["0", *[""] * (len(HEADS) - 1)]
    n, delays = row["n"], row["scale"] > 0
    return [
        str(int(row["steps"])),
        f"{row['seconds']:.2f}",
        f"{row['seconds_simulated']:.2f}" if delays else "no delays",
        f"{row['ratio']:.2f}" if delays else "",
        f"{int(row['messages']):,}",
        f"{row['bits_received'] / n:.3g}",
        f"{row['bits_up_simulated'] / n:.3g}",
        f"{row['memory_per_worker'] / 2**20:.0f} MiB",
        _replay(row["replay_difference"]),
    ]


def _replay(difference: float) -> str:
    if math.isnan(difference):
        return "stopped"
    return "exact" if difference == 0 else f"within {difference:.1g}"
