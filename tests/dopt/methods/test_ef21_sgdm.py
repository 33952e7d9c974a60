"""EF21-SGDM against its algorithm in plain numpy."""

import numpy as np
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, played, same, sampled, tops

from compressors import TopK
from dopt.methods import EF21SGDM


K, BATCH = 4, 2


def test_it_is_its_algorithm():
    eta = 0.3
    schedule, models = played(EF21SGDM(0.1, TopK(K), momentum=eta, batch=BATCH))
    x, v, g = np.zeros(D), None, np.zeros((N, D))
    expected = [x]
    for k in range(ROUNDS):
        new = sampled(x, k, BATCH)
        v = new if v is None else (1 - eta) * v + eta * new
        g = g + tops(v - g, K)
        x = x - 0.1 * g.mean(axis=0)
        expected.append(x)
    same(models, expected)
    check_totals(schedule, gradients=N * BATCH, bits_up=N * (K * NUMBER + 32))
