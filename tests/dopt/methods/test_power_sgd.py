"""PowerSGD against its algorithm in plain numpy, and what its factors cost."""

import jax
import numpy as np
import pytest
from families import D, N, cluster, least_squares, listed, schedule_for
from rounds import (
    NUMBER,
    ROUNDS,
    check_step_seconds,
    check_totals,
    gradients,
    played,
    same,
    sampled,
)

from dopt.methods import Factors, PowerSGD
from dopt.replay.plain import plain_replay
from simulators.cluster import Cluster


ROWS, COLS, WHOLE = 5, 3, 5


def test_it_is_its_algorithm():
    """A matrix of 5 x 3, and a vector of 5 that travels whole."""
    down = np.linspace(0.1, 0.9, N)
    workers = Cluster(cluster().h, cluster().uplink, downlink=down)
    r, batch = 2, 2
    factors = Factors(r, ((ROWS, COLS), (WHOLE,)))
    schedule, models = played(PowerSGD(0.1, factors, batch=batch), workers=workers)
    Q = np.asarray(jax.random.normal(jax.random.key(0), (r * COLS,))).reshape(COLS, r)
    x, e = np.zeros(D), np.zeros((N, ROWS, COLS))
    expected = [x]
    for k in range(0, ROUNDS, 2):
        # Every other job of a worker computes.
        g = sampled(x, k, batch)
        delta = e + g[:, : ROWS * COLS].reshape(N, ROWS, COLS)
        P = np.linalg.qr((delta @ Q).mean(axis=0))[0]
        Q_own = np.einsum("nij,ir->njr", delta, P)
        e = delta - P @ np.swapaxes(Q_own, 1, 2)
        Q = Q_own.mean(axis=0)
        moved = x - 0.1 * np.concatenate([(P @ Q.T).ravel(), g[:, ROWS * COLS :].mean(axis=0)])
        expected += [x, moved]
        x = moved
    assert np.abs(e).max() > 0.1
    same(models, expected[: ROUNDS + 1])

    left = np.arange(ROUNDS) % 2 == 0
    up = np.where(left, r * ROWS + WHOLE, r * COLS)
    computed = np.where(left, batch, 0)
    check_totals(schedule, gradients=N * computed, bits_up=N * up * NUMBER)
    # P̂ in the middle of an iteration; at its end Q and the mean of the vectors, but at first x⁰.
    news = np.where(left, r * COLS + WHOLE, r * ROWS)
    news[0] = D
    np.testing.assert_array_equal(np.diff(schedule.steps.bits_down), N * news * NUMBER)
    seconds = np.outer(news, down) + np.outer(computed, workers.h) + np.outer(up, workers.uplink)
    check_step_seconds(schedule, seconds.max(axis=1))


@pytest.mark.parametrize("shapes", [((D,),), ((), (D - 1, 1))])
def test_a_model_without_matrices_travels_whole_in_its_own_precision(shapes):
    problem, method = least_squares(dtype=np.float32), PowerSGD(0.1, Factors(2, shapes))
    schedule = listed(schedule_for(method, problem, steps=2))
    models = plain_replay(problem, method, schedule)
    assert models[-1].dtype == np.float32
    np.testing.assert_allclose(models[-1], -0.1 * gradients(np.zeros(D)).mean(axis=0), rtol=1e-5)
    check_totals(schedule, gradients=[N, 0], bits_up=[N * D * 32, 0])
