import uuid

import numpy as np
import pytest

from dopt.results import Status, canonical_json, run_id
from dopt.results.places import place_at


def run_row(number, status=Status.FINISHED, **changes):
    config = {"number": number}
    row = {
        "run_id": run_id(config),
        "study": "speeds",
        "regime": "high",
        "method": "rennala",
        "variant": "",
        "compressor": "identity",
        "problem": "quadratic",
        "cluster": "sqrt",
        "phase": "report",
        "step_size": 2.0**-number,
        "theory_step_size": 1.0,
        "factor": 2.0**-number,
        "timeline_seed": 0,
        "data_seed": number,
        "status": status,
        "reason": None,
        "seconds": 0.25,
        "peak_memory": 2**40,
        "versions": '{"jax":"0.10.2"}',
        "device": "cpu",
        "config": canonical_json(config),
    }
    return row | changes


def trace_columns(rows, records=3, shift=0.0):
    """Traces that name their run in every value, and hold what float64 holds."""
    size = len(rows) * records
    number = np.repeat([float(row["data_seed"]) for row in rows], records)
    record = np.tile(np.arange(records), len(rows))
    gap = number + record / 8 + shift
    gap[record == records - 1] = np.nan
    return {
        "run_id": np.repeat([row["run_id"] for row in rows], records),
        "record": record,
        "time": record * 0.1,
        "step": record * 10,
        "gradients": record * 2**40,
        "bits_up": np.arange(size),
        "bits_down": np.zeros(size, dtype=np.int64),
        "value": number + shift,
        "gap": gap,
        "grad_norm2": np.where(record == 1, np.inf, 1e-300),
        "accuracy": 1 / (1 + number),
    }


@pytest.fixture
def make_runs():
    return lambda *numbers, **changes: [run_row(number, **changes) for number in numbers]


@pytest.fixture
def make_traces():
    return trace_columns


@pytest.fixture
def put(make_runs, make_traces):
    """Writes a batch of the runs with these numbers, and gives their names."""

    def put(store, batch_id, *numbers, shift=0.0, **changes):
        rows = make_runs(*numbers, **changes)
        store.write(batch_id, rows, make_traces(rows, shift=shift))
        return {row["run_id"] for row in rows}

    return put


@pytest.fixture
def address():
    """An address in memory of its own."""
    import fsspec

    name = uuid.uuid4().hex
    yield f"memory://{name}/a study"
    system = fsspec.filesystem("memory")
    if system.exists(f"/{name}"):
        system.rm(f"/{name}", recursive=True)


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    """A results folder that is not there yet, on the disk and in an object store."""
    return tmp_path / "a study" if request.param == "local" else request.getfixturevalue("address")


@pytest.fixture
def place(folder):
    return place_at(folder)
