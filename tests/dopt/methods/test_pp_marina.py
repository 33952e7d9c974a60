"""PP-MARINA against its algorithm in plain numpy."""

import numpy as np
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, coins, gradients, played, same, sent

from compressors import RandK
from dopt.methods import PPMARINA


K, P, R = 4, 0.3, 4


def test_it_is_its_algorithm():
    C = RandK(K)
    schedule, models = played(PPMARINA(0.1, C, p=P, participants=R))
    rows, full = schedule.arrivals, coins(P)
    x = before = g = np.zeros(D)
    jobs = np.zeros(N, int)
    expected = [x]
    for k in range(ROUNDS):
        there = np.sort(rows.worker[rows.step == k])
        if full[k]:
            np.testing.assert_array_equal(there, np.arange(N))
            g = gradients(x).mean(axis=0)
        else:
            assert len(set(there.tolist())) == R
            difference = gradients(x) - gradients(before)
            # A worker's messages are drawn for its own jobs, not for rounds.
            g = g + sent(C, difference, jobs)[there].mean(axis=0)
        jobs[there] += 1
        x, before = x - 0.1 * g, x
        expected.append(x)
    same(models, expected)
    assert len(set(jobs.tolist())) > 1
    check_totals(
        schedule,
        gradients=np.where(full, N, 2 * R),
        bits_up=np.where(full, N * D, R * K) * NUMBER,
    )
