"""EF14 against its algorithm in plain numpy."""

import numpy as np
import pytest
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, gradients, played, same, sampled, tops

from compressors import TopK
from dopt.methods import EF14


K = 4


@pytest.mark.parametrize("batch", [None, 2])
def test_it_is_its_algorithm(batch):
    schedule, models = played(EF14(0.1, TopK(K), batch=batch))
    x, e = np.zeros(D), np.zeros((N, D))
    expected = [x]
    for k in range(ROUNDS):
        p = e + (gradients(x) if batch is None else sampled(x, k, batch))
        c = tops(p, K)
        x, e = x - 0.1 * c.mean(axis=0), p - c
        expected.append(x)
    same(models, expected)
    # Four values, and their indices of 5 bits in one word.
    check_totals(schedule, gradients=N * (batch or 1), bits_up=N * (K * NUMBER + 32))
