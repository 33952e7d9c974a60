"""MARINA against its algorithm in plain numpy."""

import numpy as np
import pytest
from families import D, N, cluster, least_squares, schedule_for
from rounds import (
    NUMBER,
    check_step_seconds,
    check_totals,
    coins,
    gradients,
    played,
    same,
    sent,
)

from compressors import CorrelatedQuantization, PermK, RandK
from dopt.methods import MARINA
from dopt.replay import replay


K, P = 4, 0.3


@pytest.mark.parametrize(
    ("C", "bits", "timeline_seed"),
    [
        (RandK(K), K * NUMBER, 0),
        (RandK(K), K * NUMBER, 1),
        # The largest of 6 blocks of 20 coordinates.
        (PermK(), 4 * NUMBER, 0),
        # One bit each in one word, and the norm.
        (CorrelatedQuantization(), 32 + NUMBER, 0),
    ],
)
def test_it_is_its_algorithm(C, bits, timeline_seed):
    schedule, models = played(MARINA(0.1, C, p=P), timeline_seed=timeline_seed)
    full = coins(P, timeline_seed)
    x = before = g = np.zeros(D)
    expected = [x]
    for k, dense in enumerate(full):
        if dense:
            g = gradients(x).mean(axis=0)
        else:
            g = g + sent(C, gradients(x) - gradients(before), k, version=k).mean(axis=0)
        x, before = x - 0.1 * g, x
        expected.append(x)
    same(models, expected)
    computed, up = np.where(full, 1, 2), np.where(full, D * NUMBER, bits)
    check_totals(schedule, gradients=N * computed, bits_up=N * up)
    seconds = np.outer(computed, cluster().h) + np.outer(up / NUMBER, cluster().uplink)
    check_step_seconds(schedule, seconds.max(axis=1))


def test_it_reaches_the_minimum_of_workers_that_disagree():
    problem = least_squares()
    a, y = (np.asarray(part) for part in problem.data)
    method = MARINA(0.1, RandK(K), p=P)
    trace = replay(problem, method, schedule_for(method, problem, steps=3000))
    np.testing.assert_allclose(trace.x[0, 0], np.linalg.lstsq(a, y)[0], atol=1e-9)
