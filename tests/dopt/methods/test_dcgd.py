"""DCGD against its algorithm in plain numpy."""

import numpy as np
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, gradients, played, same, sent

from compressors import CorrelatedQuantization
from dopt.methods import DCGD


def test_it_is_its_algorithm():
    C = CorrelatedQuantization()
    schedule, models = played(DCGD(0.1, C))
    x = np.zeros(D)
    expected = [x]
    for k in range(ROUNDS):
        x = x - 0.1 * sent(C, gradients(x), k, version=k).mean(axis=0)
        expected.append(x)
    same(models, expected)
    # One bit each in one word, and the norm.
    check_totals(schedule, gradients=N, bits_up=N * (32 + NUMBER))
