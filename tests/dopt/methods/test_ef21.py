"""EF21 against its algorithm in plain numpy."""

import numpy as np
import pytest
from families import D, N, least_squares, schedule_for
from rounds import NUMBER, ROUNDS, check_totals, gradients, played, same, sampled, tops

from compressors import TopK
from dopt.methods import EF21
from dopt.replay import replay


K = 4


@pytest.mark.parametrize("batch", [None, 2])
def test_it_is_its_algorithm(batch):
    schedule, models = played(EF21(0.1, TopK(K), batch=batch))
    x, g = np.zeros(D), np.zeros((N, D))
    expected = [x]
    for k in range(ROUNDS):
        new = gradients(x) if batch is None else sampled(x, k, batch)
        g = g + tops(new - g, K)
        x = x - 0.1 * g.mean(axis=0)
        expected.append(x)
    same(models, expected)
    # Four values, and their indices of 5 bits in one word.
    check_totals(schedule, gradients=N * (batch or 1), bits_up=N * (K * NUMBER + 32))


def test_it_reaches_the_minimum_of_workers_that_disagree():
    problem = least_squares()
    a, y = (np.asarray(part) for part in problem.data)
    best = np.linalg.lstsq(a, y)[0]
    assert np.abs(gradients(best)).max() > 1
    method = EF21(0.1, TopK(K))
    trace = replay(problem, method, schedule_for(method, problem, steps=3000))
    np.testing.assert_allclose(trace.x[0, 0], best, atol=1e-9)
