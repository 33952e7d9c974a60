"""DIANA against its algorithm in plain numpy."""

import numpy as np
import pytest
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, gradients, played, same, sampled, sent

from compressors import RandK
from dopt.methods import DIANA


K = 4


@pytest.mark.parametrize(("shift", "batch"), [(None, None), (0.3, 2)])
def test_it_is_its_algorithm(shift, batch):
    C = RandK(K)
    schedule, models = played(DIANA(0.1, C, shift=shift, batch=batch))
    a = K / D if shift is None else shift
    x, h = np.zeros(D), np.zeros((N, D))
    expected = [x]
    for k in range(ROUNDS):
        g = gradients(x) if batch is None else sampled(x, k, batch)
        m = sent(C, g - h, k)
        x = x - 0.1 * (h + m).mean(axis=0)
        h = h + a * m
        expected.append(x)
    same(models, expected)
    check_totals(schedule, gradients=N * (batch or 1), bits_up=N * K * NUMBER)
