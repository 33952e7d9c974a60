"""EF21-PP against its algorithm in plain numpy."""

import numpy as np
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, gradients, played, same, tops

from compressors import TopK
from dopt.methods import EF21PP


K, R = 4, 2


def test_it_is_its_algorithm():
    schedule, models = played(EF21PP(0.1, TopK(K), participants=R))
    rows = schedule.arrivals
    x, g, present = np.zeros(D), np.zeros((N, D)), np.zeros(N, int)
    expected = [x]
    for k in range(ROUNDS):
        there = np.sort(rows.worker[rows.step == k])
        assert len(set(there.tolist())) == (R if k else N)
        g[there] += tops(gradients(x) - g, K)[there]
        present[there] += 1
        x = x - 0.1 * g.mean(axis=0)
        expected.append(x)
    same(models, expected)
    assert len(set(present.tolist())) > 2
    there = np.where(np.arange(ROUNDS) == 0, N, R)
    check_totals(schedule, gradients=there, bits_up=there * (K * NUMBER + 32))
    assert schedule.steps.bits_down[-1] == there.sum() * D * NUMBER
