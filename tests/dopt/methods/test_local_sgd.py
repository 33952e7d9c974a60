"""Local SGD against its algorithm in plain numpy."""

import numpy as np
import pytest
from families import D, N, cluster
from rounds import (
    NUMBER,
    ROUNDS,
    check_step_seconds,
    check_totals,
    gradients,
    played,
    same,
    sampled,
    sent,
)

from compressors import Identity, RandK
from dopt.methods import LocalSGD


GAMMA = 0.05


@pytest.mark.parametrize(
    ("H", "batch", "r", "C"),
    [(3, None, None, Identity()), (2, 2, 4, RandK(4))],
)
def test_it_is_its_algorithm(H, batch, r, C):
    schedule, models = played(LocalSGD(GAMMA, H, batch=batch, participants=r, compressor=C))
    rows = schedule.arrivals
    x, jobs = np.zeros(D), np.zeros(N, int)
    expected = [x]
    for k in range(ROUNDS):
        there = rows.worker[rows.step == k]
        assert len(set(there.tolist())) == len(there) == (r or N)
        y = np.tile(x, (N, 1))
        for step in range(H):
            drawn = gradients(y) if batch is None else sampled(y, jobs, batch, local_step=step)
            y = y - GAMMA * drawn
        x = x - GAMMA * sent(C, (x - y) / GAMMA, jobs)[there].mean(axis=0)
        jobs[there] += 1
        expected.append(x)
    same(models, expected)
    numbers = D if isinstance(C, Identity) else 4
    check_totals(
        schedule, gradients=(r or N) * H * (batch or 1), bits_up=(r or N) * numbers * NUMBER
    )
    if r is None:
        seconds = H * (batch or 1) * cluster().h + numbers * cluster().uplink
        check_step_seconds(schedule, seconds.max())
