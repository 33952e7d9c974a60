"""`dopt bench simulator`: the library beside a numpy loop and bare JAX, workload by workload.

Every rival of a workload has a process of its own. The processes take turns, one run each, with
the order rotated from turn to turn; nothing else of the benchmark runs meanwhile.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dopt.errors import ConfigurationError, DoptError
from experiments.benchmarks.machine import processor
from experiments.benchmarks.pairs import PAIRS, ratio
from experiments.benchmarks.rivals import OURS, RIVALS
from experiments.benchmarks.workloads import WORKLOADS


class _Child:
    """A process that runs one rival on one workload each time it is asked."""

    def __init__(self, name: str, rival: str) -> None:
        command = [sys.executable, "-m", "experiments.benchmarks.child", name, rival]
        self.what = f"{rival} on {name}"
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self) -> dict[str, float]:
        """Its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise DoptError(f"{self.what} ended with exit code {self.process.wait()}; see above")
        return json.loads(line)

    def run(self) -> dict[str, float]:
        """One measurement."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return self.answer()


@contextmanager
def _started(name: str, rival: str) -> Iterator[_Child]:
    child = _Child(name, rival)
    try:
        yield child
    finally:
        child.process.kill()
        child.process.communicate()


def select(names: Sequence[str]) -> list[str]:
    """The workloads whose names begin with one of these; all, where none is given.

    Raises:
        ConfigurationError: a name that begins none.
    """
    for name in names:
        if not any(known.startswith(name) for known in WORKLOADS):
            raise ConfigurationError(
                f"no workload is called {name}; there are {', '.join(WORKLOADS)}, and the "
                "beginning of a name stands for all that begin so"
            )
    return [known for known in WORKLOADS if not names or known.startswith(tuple(names))]


def measure(name: str, pairs: int) -> list[dict[str, Any]]:
    """A row for every rival of a workload, ours first."""
    workload, rivals = WORKLOADS[name], list(RIVALS[name])
    with ExitStack() as stack:
        children, first = {}, {}
        for rival in rivals:
            children[rival] = stack.enter_context(_started(name, rival))
            first[rival] = children[rival].answer()
        runs: dict[str, list[dict[str, float]]] = {rival: [] for rival in rivals}
        for turn in range(pairs):
            for place in range(len(rivals)):
                rival = rivals[(turn + place) % len(rivals)]
                runs[rival].append(children[rival].run())
    rows = []
    for rival in rivals:
        seconds = [run["seconds"] for run in runs[rival]]
        ours = [run["seconds"] for run in runs[OURS]]
        # The numpy loop runs one of the grid, the others all of it at once.
        lanes = 1 if rival == "numpy" else workload.lanes
        share = workload.lanes / lanes
        middle = sorted(seconds)[len(seconds) // 2]
        compared = ratio(ours, [share * s for s in seconds])
        rows.append(
            {
                "workload": name,
                "title": workload.title,
                "rival": rival,
                "unit": workload.unit,
                "rate": lanes * workload.units / middle,
                "ratio": compared.median,
                "ratio_low": compared.low,
                "ratio_high": compared.high,
                "pairs": pairs,
                "peak_mib": max(run["peak"] for run in runs[rival]) / 2**20,
                "first_call_s": first[rival]["first_call"],
                "since_start_s": first[rival]["since_start"],
                "value": runs[rival][-1]["value"],
                "expected": workload.expected,
            }
        )
    return rows


def bench(
    names: Sequence[str], pairs: int, file: Path | None, out: Console, say: Callable[[str], None]
) -> None:
    """Measures, prints the table, and writes the rows to `file` as JSON.

    Raises:
        ConfigurationError: an unknown workload, or too few pairs for an interval.
    """
    if pairs < PAIRS:
        raise ConfigurationError(f"{pairs} pairs give no interval of 95 %; give at least {PAIRS}")
    chosen, rows = select(names), []
    for index, name in enumerate(chosen):
        say(f"[{index + 1}/{len(chosen)}] {name}: {WORKLOADS[name].title}")
        rows += measure(name, pairs)
        if file is not None:
            file.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    out.print(_table(rows))
    out.print(", ".join(f"{key} {value}" for key, value in machine().items()), soft_wrap=True)


def machine() -> dict[str, str]:
    """What the numbers depend on besides the code."""
    import platform

    import jax
    import numpy as np

    return {
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "backend": jax.default_backend(),
        "JAX": jax.__version__,
        "numpy": np.__version__,
        "Python": platform.python_version(),
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        title="dopt beside what one would write by hand: rates are medians, ratios dopt / rival",
        title_justify="left",
    )
    for header, justify in (
        ("workload", "left"),
        ("rival", "left"),
        ("rate", "right"),
        ("dopt is", "right"),
        ("95 %", "right"),
        ("peak MiB", "right"),
        ("first call s", "right"),
        ("from start s", "right"),
        ("ends at", "right"),
    ):
        table.add_column(header, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        ours = row["rival"] == OURS
        table.add_row(
            f"{row['workload']}" if ours else "",
            row["rival"],
            f"{row['rate']:,.0f} {row['unit']}/s",
            "" if ours else f"{row['ratio']:.2f}x",
            "" if ours else f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}",
            f"{row['peak_mib']:,.0f}",
            f"{row['first_call_s']:.2f}",
            f"{row['since_start_s']:.2f}",
            f"{row['value']:.6g}",
            end_section=row is rows[-1] or rows[rows.index(row) + 1]["rival"] == OURS,
        )
    return table
