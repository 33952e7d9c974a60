"""DASHA-MVR against its algorithm in plain numpy."""

import numpy as np
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, played, same, sampled, sent

from compressors import RandK
from dopt.methods import DASHAMVR


K, FIRST, BATCH, MOMENTUM = 4, 5, 2, 0.3


def test_it_is_its_algorithm():
    C, a = RandK(K), 1 / (2 * (D / K - 1) + 1)
    method = DASHAMVR(0.1, C, momentum=MOMENTUM, batch=BATCH, first=FIRST)
    schedule, models = played(method)
    x = before = np.zeros(D)
    expected = [x]
    for k in range(ROUNDS):
        if k == 0:
            h = g = sampled(x, k, FIRST)
        else:
            old = h
            # Both models see the same samples.
            h = sampled(x, k, BATCH) + (1 - MOMENTUM) * (old - sampled(before, k, BATCH))
            g = g + sent(C, h - old - a * (g - old), k)
        x, before = x - 0.1 * g.mean(axis=0), x
        expected.append(x)
    same(models, expected)
    first = np.arange(ROUNDS) == 0
    check_totals(
        schedule,
        gradients=N * np.where(first, FIRST, 2 * BATCH),
        bits_up=N * np.where(first, D, K) * NUMBER,
    )
