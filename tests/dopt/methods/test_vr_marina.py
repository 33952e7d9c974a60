"""VR-MARINA against its algorithm in plain numpy."""

import numpy as np
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, coins, gradients, played, same, sampled, sent

from compressors import RandK
from dopt.methods import VRMARINA


K, P, BATCH, FULL = 4, 0.3, 2, 7


def test_it_is_its_algorithm():
    C = RandK(K)
    schedule, models = played(VRMARINA(0.1, C, p=P, batch=BATCH, full=FULL))
    full = coins(P)
    x = before = g = np.zeros(D)
    expected = [x]
    for k in range(ROUNDS):
        if full[k]:
            g = gradients(x).mean(axis=0)
        else:
            difference = sampled(x, k, BATCH) - sampled(before, k, BATCH)
            g = g + sent(C, difference, k).mean(axis=0)
        x, before = x - 0.1 * g, x
        expected.append(x)
    same(models, expected)
    check_totals(
        schedule,
        gradients=N * np.where(full, FULL, 2 * BATCH),
        bits_up=N * np.where(full, D, K) * NUMBER,
    )
