"""Recorded computing times of real training jobs, gradient by gradient or step by step."""

import csv
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from dopt.data.folders import data_folder
from dopt.errors import ConfigurationError, DataError


_JOBS = "straggler_alibaba"
_TRAININGS = "straggler_bytedance"
_COLUMNS = ["", "worker", "gpu", "time", "batch_time_norm"]
_SLOWEST = 1000
"""What the normalised time of a job's slowest mini-batch is."""


def load_job_times(
    job: int, folder: str | os.PathLike[str] | None = None, *, slowest: float | int = 1.0
) -> tuple[Float64[np.ndarray, " iterations"], ...]:
    """Seconds of the sampled mini-batches of each worker of an Alibaba job, in order of time.

    The files `<data folder>/straggler_alibaba/job_<job>_norm.csv` hold times of mini-batches of ten
    workers, sampled about every tenth iteration and normalised so that the job's slowest is 1000.
    Workers come in the order of their numbers, and may have different numbers of samples.

    Args:
        job: number of the job.
        folder: the data folder; what `DOPT_DATA` names by default.
        slowest: seconds that the job's slowest mini-batch takes.

    Raises:
        ConfigurationError: `slowest` is not positive and finite, or there is no such job.
        DataError: no data folder, or a file that cannot be read or is no such table; the message
            names the line.
    """
    if not 0 < slowest < math.inf:
        raise ConfigurationError(f"slowest = {slowest}; give seconds > 0")
    path = _existing(folder, _JOBS, "job_{}_norm.csv", str(job))
    samples: dict[int, list[tuple[int, int]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != _COLUMNS:
                raise DataError(f"{path}: the first line must be {','.join(_COLUMNS)!r}")
            for row in reader:
                worker, time, normalised = _sample(f"{path}, line {reader.line_num}", row)
                samples.setdefault(worker, []).append((time, normalised))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if not samples:
        raise DataError(f"{path} has no sample below its header")
    scale = slowest / _SLOWEST
    return tuple(
        np.array([normalised for _, normalised in sorted(samples[worker])]) * scale
        for worker in sorted(samples)
    )


class TrainingTimes(NamedTuple):
    """Computing times of a pipelined training of a language model, step by step."""

    steps: Int64[np.ndarray, " S"]
    """Numbers of the recorded steps, ascending; not all steps of the training were recorded."""

    by_stage: Float64[np.ndarray, "ranks stages S"]
    """Seconds in which a stage of a data-parallel rank computed: the sum of the durations of all
    its forward and backward passes, over the micro-batches of the step."""

    @property
    def seconds(self) -> Float64[np.ndarray, "ranks S"]:
        """Seconds that each data-parallel rank computes at least in each step: its busiest stage's.

        Stages work at the same time. Left out are what a stage waits for (the pipeline's filling
        and emptying), sending and receiving, all reductions, garbage collection and the optimizer.
        """
        return self.by_stage.max(axis=1)


def load_training_times(trace: str, folder: str | os.PathLike[str] | None = None) -> TrainingTimes:
    """The computing times of a trace of ByteDance, `<data folder>/straggler_bytedance`.

    Args:
        trace: `"SE"` (32 data-parallel ranks of 2 stages, 43 steps) or `"ST"` (2 of 4, 32 steps).
        folder: the data folder; what `DOPT_DATA` names by default.

    Raises:
        ConfigurationError: there is no such trace.
        DataError: no data folder, a file that cannot be read, a duration that is negative or NaN,
            or a step that some rank or stage does not compute.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _existing(folder, _TRAININGS, "trace-{}.parquet", trace)
    wanted = ["dp_rank", "stage", "step", "optype", "duration"]
    passes = [("optype", "in", ["forward-compute", "backward-compute"])]
    try:
        table = pq.read_table(path, columns=wanted, filters=passes)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    rank, stage, step, duration = (
        table[name].to_numpy() for name in ("dp_rank", "stage", "step", "duration")
    )
    if not len(duration) or not (duration >= 0).all():
        raise DataError(f"{path} must hold durations >= 0 of forward and backward passes")
    steps, place = np.unique(step, return_inverse=True)
    shape = (int(rank.max()) + 1, int(stage.max()) + 1, len(steps))
    by_stage, passed = np.zeros(shape), np.zeros(shape, np.int64)
    where = rank.astype(np.int64), stage.astype(np.int64), place
    np.add.at(by_stage, where, duration.astype(np.float64))
    np.add.at(passed, where, 1)
    idle = np.argwhere(passed == 0)
    if len(idle):
        a, b, c = idle[0].tolist()
        raise DataError(
            f"{path}: stage {b} of rank {a} computes nothing in step {steps[c]}; the trace is cut"
        )
    return TrainingTimes(steps.astype(np.int64), by_stage)


def _existing(folder: str | os.PathLike[str] | None, source: str, pattern: str, name: str) -> Path:
    """The file that `pattern` gives for `name` in a folder of the data folder."""
    root = data_folder(folder)
    if root is None:
        raise DataError(f"no data folder is given; set DOPT_DATA to one with {source}/")
    path = root / source / pattern.format(name)
    if not path.is_file():
        before, after = pattern.split("{}")
        known = sorted(
            found.name.removeprefix(before).removesuffix(after)
            for found in (root / source).glob(pattern.format("*"))
        )
        if not known:
            raise DataError(f"{root / source} has no {pattern.format('*')}; fetch the folder")
        raise ConfigurationError(
            f"{root / source} has no {path.name} (there are {', '.join(known)})"
        )
    return path


def _sample(place: str, row: list[str]) -> tuple[int, int, int]:
    """Worker, time and normalised time of a row."""
    try:
        _, worker, _, time, normalised = (int(cell) for cell in row)
    except ValueError:
        raise DataError(f"{place}: {','.join(row)!r} is not {len(_COLUMNS)} integers") from None
    if not 0 <= normalised <= _SLOWEST or worker < 0:
        raise DataError(
            f"{place}: worker {worker}, normalised time {normalised}; the worker is >= 0 and the "
            f"time between 0 and {_SLOWEST}"
        )
    return worker, time, normalised
