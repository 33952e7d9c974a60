"""EF21-P against its algorithm in plain numpy, and what its way down costs."""

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
    sent,
    top,
)

from compressors import Identity, RandK, TopK
from dopt.methods import EF21P
from simulators.cluster import Cluster


K = 4
NEWS = K * NUMBER + 32
"""Bits of four values and their indices."""


@pytest.mark.parametrize("C", [Identity(), RandK(K)])
def test_it_is_its_algorithm(C):
    down = np.linspace(0.1, 0.9, N)
    workers = Cluster(cluster().h, cluster().uplink, downlink=down, latency=0.25)
    schedule, models = played(EF21P(0.1, TopK(K), C), workers=workers)
    x = w = np.zeros(D)
    expected = [x]
    for k in range(ROUNDS):
        x = x - 0.1 * sent(C, gradients(w), k).mean(axis=0)
        w = w + top(x - w, K)
        expected.append(x)
    assert np.abs(x - w).max() > 0.01
    same(models, expected)
    numbers = D if isinstance(C, Identity) else K
    check_totals(schedule, gradients=N, bits_up=N * numbers * NUMBER)
    # The first model comes whole.
    first = np.arange(ROUNDS) == 0
    news = np.where(first, D * NUMBER, NEWS)
    # What the last step sends out belongs to a round that has not begun.
    np.testing.assert_array_equal(np.diff(schedule.steps.bits_down), N * news)
    seconds = 0.25 + np.outer(news / NUMBER, down) + workers.h + 0.25 + numbers * workers.uplink
    check_step_seconds(schedule, seconds.max(axis=1))
