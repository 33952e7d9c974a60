import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import PowerSGD, RankR


KEY = jax.random.key(26)
RNG = np.random.default_rng(4)
ROWS, COLS, N = 6, 9, 4


@jax.jit
def exchange(collective, xs, state):
    return collective.exchange(xs, state)


def low_rank(values):
    """A matrix with these singular values."""
    u = np.linalg.qr(RNG.standard_normal((ROWS, ROWS)))[0]
    v = np.linalg.qr(RNG.standard_normal((COLS, COLS)))[0]
    return (u[:, : len(values)] * values) @ v[: len(values)]


def test_one_exchange_is_that_of_the_paper():
    op, xs = PowerSGD(2, (ROWS, COLS)), RNG.standard_normal((N, ROWS * COLS))
    state = op.init(ROWS * COLS, jnp.float64, key=KEY)
    estimate, after = exchange(op, jnp.asarray(xs), state)
    matrices = xs.reshape(N, ROWS, COLS)
    P = np.zeros((ROWS, 2))
    for M in matrices:
        P += M @ np.asarray(state) / N
    for j in range(2):
        for i in range(j):
            P[:, j] -= (P[:, i] @ P[:, j]) * P[:, i]
        P[:, j] /= np.linalg.norm(P[:, j])
    Q = np.zeros((COLS, 2))
    for M in matrices:
        Q += M.T @ P / N
    np.testing.assert_allclose(estimate, (P @ Q.T).ravel(), atol=1e-12)
    span = np.linalg.lstsq(Q, np.asarray(after), rcond=None)[1]
    np.testing.assert_allclose(span, 0, atol=1e-20)


def test_workers_are_reduced_to_their_mean():
    op, xs = PowerSGD(2, (ROWS, COLS)), jnp.asarray(RNG.standard_normal((N, ROWS * COLS)))
    state = op.init(ROWS * COLS, jnp.float64, key=KEY)
    several, after = exchange(op, xs, state)
    one, same = exchange(op, xs.mean(axis=0)[None], state)
    np.testing.assert_allclose(several, one, atol=1e-13)
    np.testing.assert_allclose(after, same, atol=1e-13)


def test_with_a_warm_state_it_comes_to_the_best_approximation():
    M = low_rank([4.0, 3.0, 1.0, 0.5])
    x = jnp.asarray(M.reshape(1, -1))
    op = PowerSGD(2, (ROWS, COLS))
    state = op.init(x.size, jnp.float64, key=KEY)
    u, s, v = np.linalg.svd(M)
    best = ((u[:, :2] * s[:2]) @ v[:2]).ravel()
    errors = []
    for _ in range(20):
        estimate, state = exchange(op, x, state)
        errors.append(np.linalg.norm(estimate - best))
    assert errors[0] > 0.1
    assert errors[-1] < 1e-8
    # Each round is one step of power iteration: the error shrinks by (s_3/s_2)² = 1/9.
    assert errors[9] / errors[8] == pytest.approx(1 / 9, rel=0.05)


def test_a_matrix_of_the_rank_takes_one_exchange():
    x = jnp.asarray(low_rank([2.0, 1.0]).reshape(1, -1))
    op = PowerSGD(2, (ROWS, COLS))
    estimate, _ = exchange(op, x, op.init(x.size, jnp.float64, key=KEY))
    np.testing.assert_allclose(estimate, x[0], atol=1e-13)


def test_it_is_a_projection_of_the_mean():
    x = jnp.asarray(RNG.standard_normal((1, ROWS * COLS)))
    op = PowerSGD(3, (ROWS, COLS))
    estimate, _ = exchange(op, x, op.init(x.size, jnp.float64, key=KEY))
    error = estimate - x[0]
    assert abs(float(error @ estimate)) < 1e-12
    best = RankR(3, (ROWS, COLS))
    least = best.expand(best.compress(x[0], key=KEY)) - x[0]
    assert float(least @ least) <= float(error @ error) < float(x[0] @ x[0])


def test_the_state_outlives_zeros_and_numbers_that_are_none():
    op = PowerSGD(1, (ROWS, COLS))
    state = op.init(ROWS * COLS, jnp.float32, key=KEY)
    for value in (0.0, np.nan, np.inf):
        xs = jnp.full((N, ROWS * COLS), value, jnp.float32)
        estimate, after = exchange(op, xs, state)
        np.testing.assert_array_equal(after, state)
        assert bool(jnp.isfinite(estimate).all()) == (value == 0)


def test_bits_are_those_of_the_two_factors():
    op = PowerSGD(3, (ROWS, COLS))
    assert op.nbits(54, jnp.float32) == 32 * 3 * (ROWS + COLS)
    assert op.nbits(54, jnp.bfloat16) == 16 * 3 * (ROWS + COLS)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"PowerSGD .* 3 x 4 .* r = 4: give r between 1 and 3"):
        PowerSGD(4, (3, 4))
    op = PowerSGD(1, (3, 4))
    for call in (
        lambda: op.check(13),
        lambda: op.init(13, jnp.float32, key=KEY),
        lambda: op.exchange(jnp.ones((2, 13)), jnp.ones((4, 1))),
        lambda: op.nbits(13, jnp.float32),
    ):
        with pytest.raises(ValueError, match="PowerSGD of a 3 x 4 matrix cannot take d = 13"):
            call()
