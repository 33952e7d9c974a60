"""DASHA against its algorithm in plain numpy."""

import numpy as np
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
)

from compressors import RandK
from dopt.methods import DASHA


K = 4


def test_it_is_its_algorithm():
    C, a = RandK(K), 1 / (2 * (D / K - 1) + 1)
    schedule, models = played(DASHA(0.1, C))
    x, before, g = np.zeros(D), np.zeros((N, D)), np.zeros((N, D))
    expected = [x]
    for k in range(ROUNDS):
        now = gradients(x)
        g = now if k == 0 else g + sent(C, now - before - a * (g - before), k)
        x, before = x - 0.1 * g.mean(axis=0), now
        expected.append(x)
    same(models, expected)
    numbers = np.where(np.arange(ROUNDS) == 0, D, K)
    check_totals(schedule, gradients=N, bits_up=N * numbers * NUMBER)
    seconds = cluster().h + np.outer(numbers, cluster().uplink)
    check_step_seconds(schedule, seconds.max(axis=1))
