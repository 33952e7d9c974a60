"""EF14 against its algorithm in plain numpy."""

import numpy as np
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, played, same, sampled, tops

from compressors import TopK
from dopt.methods import EF14


K, BATCH = 4, 2


def test_it_is_its_algorithm():
    schedule, models = played(EF14(0.1, TopK(K), batch=BATCH))
    x, e = np.zeros(D), np.zeros((N, D))
    expected = [x]
    for k in range(ROUNDS):
        p = e + sampled(x, k, BATCH)
        c = tops(p, K)
        x, e = x - 0.1 * c.mean(axis=0), p - c
        expected.append(x)
    same(models, expected)
    # Four values, and their indices of 5 bits in one word.
    check_totals(schedule, gradients=N * BATCH, bits_up=N * (K * NUMBER + 32))
