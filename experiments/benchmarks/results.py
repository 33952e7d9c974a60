"""How long a folder of 10^5 runs takes to write, resume, merge and open, and in how much memory.

Writes batches of made-up runs with configurations of about 2 KB, then does each of these in a
process of its own, as a user would: opens the folder for writing (as a sweep that was stopped
does), merges it, loads it, and reads its files with pandas alone. On an address it measures that
object store.

    python -m experiments.benchmarks.results [--batches 1000] [--runs 100] [--records 20] [--out X]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.memory import peak_memory


REGIMES, METHODS = 10, 10
"""The batches go round these, a hundred in all."""

CONFIG_KEYS = 60
"""Numbers in a configuration, which make it about 2 KB of JSON."""


def write(out: str, batches: int, runs: int, records: int) -> dict[str, float]:
    """Writes all batches, with one that stays unmerged for `merge again`."""
    from dopt.results.store import Store

    times = []
    with Store(out) as store:
        for batch in range(batches):
            rows = _rows(batch, runs)
            traces = _traces(rows, records)
            before = time.perf_counter()
            store.write(f"tune-{batch:06d}", rows, traces)
            times.append(time.perf_counter() - before)
    return {"a batch, median": float(np.median(times)), "slowest": max(times), "all": sum(times)}


def reopen(out: str) -> dict[str, float]:
    """Opens the folder for writing, and asks what is finished."""
    from dopt.results.store import Store

    before = time.perf_counter()
    with Store(out) as store:
        finished = len(store.finished())
        return {"seconds": time.perf_counter() - before, "finished": finished}


def merge(out: str) -> dict[str, float]:
    """Merges what is there."""
    from dopt.results.store import Store

    with Store(out) as store:
        before = time.perf_counter()
        store.merge()
        return {"seconds": time.perf_counter() - before}


def merge_again(out: str, batches: int, runs: int, records: int) -> dict[str, float]:
    """Adds one batch to a merged folder and merges again."""
    from dopt.results.store import Store

    rows = _rows(batches, runs)
    with Store(out) as store:
        store.write(f"tune-{batches:06d}", rows, _traces(rows, records))
        before = time.perf_counter()
        store.merge()
        return {"seconds": time.perf_counter() - before}


def load_all(out: str) -> dict[str, float]:
    """`load`, as figures and tables do."""
    from dopt.results.read import load

    before = time.perf_counter()
    runs, traces = load(out)
    seconds = time.perf_counter() - before
    return {"seconds": seconds, "runs": len(runs), "records": len(traces)}


def read(out: str, table: str, filters: list[tuple[str, str, str]] | None) -> dict[str, float]:
    """`pandas.read_parquet` of a merged file."""
    import pandas as pd

    before = time.perf_counter()
    found = pd.read_parquet(f"{out}/{table}.parquet", filters=filters)
    return {"seconds": time.perf_counter() - before, "rows": len(found)}


def _rows(batch: int, runs: int) -> list[dict[str, Any]]:
    """The runs of a batch: one regime and method, a grid of step sizes and seeds."""
    from dopt.results import canonical_json, run_id

    regime, method = f"regime {batch % REGIMES}", f"method {batch // REGIMES % METHODS}"
    rows = []
    for index in range(runs):
        number = batch * runs + index
        config: dict[str, Any] = {f"setting of a part {key}": key / 7 for key in range(CONFIG_KEYS)}
        config |= {"regime": regime, "method": method, "number": number}
        rows.append(
            {
                "run_id": run_id(config),
                "study": "heterogeneity",
                "regime": regime,
                "method": method,
                "variant": "plain",
                "compressor": "RandK",
                "problem": "quadratic",
                "cluster": "100 workers, h_i = sqrt(i)",
                "phase": "tune",
                "step_size": 2.0 ** -(index % 10),
                "theory_step_size": 1.0,
                "factor": 2.0 ** -(index % 10),
                "timeline_seed": 0,
                "data_seed": number,
                "status": "finished",
                "reason": None,
                "seconds": 0.25,
                "peak_memory": 2**30,
                "versions": '{"jax":"0.10.2","numpy":"2.0"}',
                "device": "cpu",
                "config": canonical_json(config),
            }
        )
    return rows


def _traces(rows: list[dict[str, Any]], records: int) -> dict[str, Any]:
    rng = np.random.default_rng(rows[0]["data_seed"])
    size, record = len(rows) * records, np.tile(np.arange(records), len(rows))
    gap = rng.exponential(size=size)
    return {
        "run_id": np.repeat([row["run_id"] for row in rows], records),
        "record": record,
        "time": record * 0.1,
        "step": record * 10,
        "gradients": record * 1000,
        "bits_up": record * 32_000,
        "bits_down": record * 64_000,
        "value": 1 + gap,
        "gap": gap,
        "grad_norm2": rng.exponential(size=size),
        "accuracy": np.full(size, np.nan),
    }


def _jobs(out: str, batches: int, runs: int, records: int) -> dict[str, Callable[[], Any]]:
    one = [("regime", "==", "regime 3"), ("method", "==", "method 7")]
    return {
        "write": lambda: write(out, batches, runs, records),
        "open again, unmerged": lambda: reopen(out),
        "load, unmerged": lambda: load_all(out),
        "merge": lambda: merge(out),
        "open again": lambda: reopen(out),
        "load": lambda: load_all(out),
        "read_parquet runs": lambda: read(out, "runs", None),
        "read_parquet traces": lambda: read(out, "traces", None),
        "traces of a method in a regime": lambda: read(out, "traces", one),
        "merge again": lambda: merge_again(out, batches, runs, records),
    }


def _measure(name: str, arguments: argparse.Namespace) -> None:
    """Prints the seconds of one job, and how far it raised the memory of its process."""
    import pandas  # noqa: F401 - imports are no part of what is measured
    import pyarrow.parquet  # noqa: F401

    from dopt.results import read, store  # noqa: F401

    sizes = arguments.batches, arguments.runs, arguments.records
    before = peak_memory()
    found = _jobs(arguments.out, *sizes)[name]()
    _line(json.dumps(found | {"MiB": (peak_memory() - before) / 2**20}))


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """`python -m experiments.benchmarks.results`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=100, help="of a batch")
    parser.add_argument("--records", type=int, default=20, help="of a run")
    parser.add_argument("--out", help="a new folder or address; by default one that is removed")
    parser.add_argument("--job", help="only this one, in this process")
    arguments = parser.parse_args()
    if arguments.job:
        _measure(arguments.job, arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or temporary
        sizes = arguments.batches, arguments.runs, arguments.records
        for name in _jobs(out, *sizes):
            command = [sys.executable, "-m", "experiments.benchmarks.results", "--job", name]
            command += ["--out", out]
            for option, size in zip(("--batches", "--runs", "--records"), sizes, strict=True):
                command += [option, str(size)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout)
            _line(f"{name:32} " + ", ".join(f"{key} {x:,.4g}" for key, x in found.items()))


if __name__ == "__main__":
    main()
