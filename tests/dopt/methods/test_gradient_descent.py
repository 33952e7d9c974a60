"""Gradient descent against its algorithm in plain numpy, and what a round of it costs."""

import numpy as np
from families import D, N, cluster
from rounds import NUMBER, ROUNDS, check_step_seconds, check_totals, gradients, played, same

from dopt.methods import GradientDescent


def test_it_is_its_algorithm():
    schedule, models = played(GradientDescent(0.1))
    x = np.zeros(D)
    expected = [x]
    for _ in range(ROUNDS):
        x = x - 0.1 * gradients(x).mean(axis=0)
        expected.append(x)
    same(models, expected)
    check_totals(schedule, gradients=N, bits_up=N * D * NUMBER)
    check_step_seconds(schedule, max(cluster().h + D * cluster().uplink))
