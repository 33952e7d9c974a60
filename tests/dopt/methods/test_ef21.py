"""EF21 against its algorithm in plain numpy."""

import numpy as np
from families import STEPS, D, N, least_squares, schedule_for

from compressors import TopK
from dopt.methods import EF21
from dopt.replay import replay


def test_it_is_its_algorithm():
    problem, K, gamma = least_squares(), 4, 0.1
    a, y = (np.asarray(part) for part in problem.data)
    a, y = a.reshape(N, -1, D), y.reshape(N, -1)
    x, g, values, norms = np.zeros(D), np.zeros((N, D)), [], []
    for _ in range(STEPS + 1):
        residual = np.einsum("nrd,d->nr", a, x) - y
        gradients = np.einsum("nrd,nr->nd", a, residual) / y.shape[1]
        values.append(np.mean(residual**2) / 2)
        norms.append(np.sum(gradients.mean(axis=0) ** 2))
        for i in range(N):
            difference = gradients[i] - g[i]
            largest = np.argsort(np.abs(difference))[-K:]
            g[i, largest] += difference[largest]
        x = x - gamma * g.mean(axis=0)
    method = EF21(gamma, TopK(K))
    schedule = schedule_for(method, problem)
    trace = replay(problem, method, schedule, records=np.arange(STEPS + 1))
    np.testing.assert_allclose(trace.value[0, 0], values, rtol=1e-12)
    np.testing.assert_allclose(trace.grad_norm2[0, 0], norms, rtol=1e-11)


def test_it_reaches_the_minimum_of_workers_that_disagree():
    problem = least_squares()
    a, y = (np.asarray(part) for part in problem.data)
    best = np.linalg.lstsq(a, y)[0]
    own = np.einsum("nrd,nr->nd", a.reshape(N, -1, D), (a @ best - y).reshape(N, -1)) / 10
    assert np.abs(own).max() > 1
    method = EF21(0.1, TopK(4))
    trace = replay(problem, method, schedule_for(method, problem, steps=3000))
    np.testing.assert_allclose(trace.x[0, 0], best, atol=1e-9)
