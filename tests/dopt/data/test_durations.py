"""Recorded computing times: against pandas, and against what their authors published."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from dopt.data import load_job_times, load_training_times
from dopt.errors import ConfigurationError, DataError


HEADER = ",worker,gpu,time,batch_time_norm\n"


@pytest.fixture
def job(tmp_path):
    folder = tmp_path / "straggler_alibaba"
    folder.mkdir()

    def write(text):
        (folder / "job_7_norm.csv").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def training(tmp_path):
    folder = tmp_path / "straggler_bytedance"
    folder.mkdir()

    def write(rows):
        columns = ["dp_rank", "stage", "step", "optype", "duration"]
        pd.DataFrame(rows, columns=columns).to_parquet(folder / "trace-XY.parquet")
        return tmp_path

    return write


def source(name):
    found = Path(os.environ["DOPT_DATA"], name)
    if not found.is_dir():
        pytest.skip(f"{found} is not there")
    return found


ROWS = [
    *[(0, 0, 5, "forward-compute", 1.0), (0, 0, 5, "backward-compute", 2.0)],
    *[(0, 0, 5, "backward-compute", 2.5), (0, 0, 5, "optimizer", 64.0)],
    *[(0, 1, 5, "forward-compute", 4.0), (0, 0, 3, "forward-compute", 8.0)],
    *[(0, 1, 3, "backward-compute", 1.0), (1, 0, 5, "forward-compute", 1.0)],
    *[(1, 1, 5, "forward-compute", 3.0), (1, 0, 3, "forward-compute", 2.0)],
    (1, 1, 3, "forward-compute", 9.0),
]


def test_workers_and_iterations_come_in_order(job):
    root = job(HEADER + "0,1,25,11,500\n1,0,25,1,1000\n2,1,25,1,250\n3,1,25,21,0\n")
    zero, one = load_job_times(7, root, slowest=2.0)
    assert zero.tolist() == [2.0]
    assert one.tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be ',worker,gpu,time,batch_time_norm'"),
        (HEADER, "has no sample below its header"),
        (HEADER + "0,1,25,1\n", "line 2: '0,1,25,1' is not 5 integers"),
        (HEADER + "0,1,25,1,nan\n", "line 2: '0,1,25,1,nan' is not 5 integers"),
        (HEADER + "0,1,25,1,-3\n", "line 2: worker 1, normalised time -3"),
        (HEADER + "0,1,25,1,9\n0,1,25,1,1001\n", "line 3: worker 1, normalised time 1001"),
    ],
)
def test_what_is_no_job_is_refused(job, text, message):
    with pytest.raises(DataError, match=message):
        load_job_times(7, job(text))


def test_absent_jobs_traces_and_folders_are_refused(job, training, tmp_path, monkeypatch):
    root = job(HEADER + "0,1,25,11,500\n")
    with pytest.raises(ConfigurationError, match=r"no job_8_norm.csv \(there are 7\)"):
        load_job_times(8, root)
    with pytest.raises(ConfigurationError, match=r"slowest = 0; give seconds > 0"):
        load_job_times(7, root, slowest=0)
    with pytest.raises(DataError, match=r"has no trace-\*.parquet; fetch the folder"):
        load_training_times("XY", root)
    training(ROWS)
    with pytest.raises(ConfigurationError, match=r"no trace-SE.parquet \(there are XY\)"):
        load_training_times("SE", tmp_path)
    monkeypatch.delenv("DOPT_DATA", raising=False)
    with pytest.raises(DataError, match="no data folder is given"):
        load_job_times(7)


def test_passes_are_summed_and_the_busiest_stage_counts(training):
    times = load_training_times("XY", training(ROWS))
    assert times.steps.tolist() == [3, 5]
    assert times.by_stage.tolist() == [[[8, 5.5], [1, 4]], [[2, 1], [9, 3]]]
    assert times.seconds.tolist() == [[8, 5.5], [9, 3]]


def test_damaged_trainings_are_refused(training, tmp_path):
    with pytest.raises(DataError, match="stage 1 of rank 1 computes nothing in step 3"):
        load_training_times("XY", training(ROWS[:-1]))
    with pytest.raises(DataError, match="must hold durations >= 0"):
        load_training_times("XY", training([*ROWS, (0, 0, 5, "forward-compute", -1.0)]))
    with pytest.raises(DataError, match="must hold durations >= 0"):
        load_training_times("XY", training([(0, 0, 5, "optimizer", 1.0)]))
    (tmp_path / "straggler_bytedance" / "trace-XY.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match="cannot be read"):
        load_training_times("XY", tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(("job", "rows"), [(1, 3000), (2, 2402), (3, 2489)])
def test_real_jobs_against_pandas(job, rows):
    table = pd.read_csv(source("straggler_alibaba") / f"job_{job}_norm.csv")
    times = load_job_times(job, slowest=4.0)
    assert sum(map(len, times)) == rows
    assert len(times) == 10
    for worker, found in enumerate(times):
        mine = table[table.worker == worker].sort_values("time").batch_time_norm
        np.testing.assert_allclose(found, mine * 4e-3, rtol=1e-15)
    assert max(found.max() for found in times) == 4.0


@pytest.mark.data
@pytest.mark.parametrize(("trace", "shape"), [("SE", (32, 2, 43)), ("ST", (2, 4, 32))])
def test_real_trainings_against_pandas_and_their_authors(trace, shape):
    folder = source("straggler_bytedance")
    times = load_training_times(trace)
    assert times.by_stage.shape == shape
    table = pd.read_parquet(folder / f"trace-{trace}.parquet")
    table = table[table.optype.isin(["forward-compute", "backward-compute"])]
    table["duration"] = table.duration.astype(np.float64)
    keys = ["dp_rank", "stage", "step"]
    sums = table.groupby(keys, observed=True).duration.sum().to_numpy().reshape(shape)
    np.testing.assert_allclose(times.by_stage, sums, rtol=1e-12)

    # The authors simulate each step with all ranks but one idealised, and publish by which factor
    # that one slows it down: the simulated step is longer than the rank computes.
    published = json.loads((folder / f"result-{trace}.json").read_text())
    slowdown = published["blocking_decompose_by_dp_rank_per_step"]
    factors = np.array(
        [[slowdown[str(k)][str(rank)] for k in times.steps] for rank in range(shape[0])]
    )
    ideal = np.array([published["step_t_noblk"][str(k)] for k in times.steps])
    assert (times.seconds < factors * ideal).all()
    lived = np.array([published["step_t_base"][str(k)] for k in times.steps])
    assert (times.seconds.max(axis=0) < lived).all()
    if trace == "SE":  # the two ranks of ST differ by less than what else their steps hold
        ranks = [
            spearmanr(*pair).statistic for pair in zip(times.seconds.T, factors.T, strict=True)
        ]
        assert min(ranks) > 0.9
        assert np.corrcoef(times.seconds.ravel(), factors.ravel())[0, 1] > 0.97
