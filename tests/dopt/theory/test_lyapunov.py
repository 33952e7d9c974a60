"""One step of every method from any state, over all that chance can do: theory's drift, exactly.

The state is random, quadratics may be indefinite, and compressors keep one coordinate of three, so
that an expectation is a sum of some hundred terms. A case gives the change of its Lyapunov function
less what its theorem allows, for the step size of theory times a factor: never positive with the
factor 1, and positive somewhere with a larger one.
"""

import math
from itertools import permutations, product

import numpy as np
import pytest

from dopt.theory import (
    contraction,
    dasha_mvr_step_size,
    dasha_step_size,
    dcgd_step_size,
    diana_convex_step_size,
    diana_step_size,
    ef14_step_size,
    ef21_bidirectional_step_size,
    ef21_pp_step_size,
    ef21_sgdm_step_size,
    ef21_step_size,
    ef21p_step_size,
    gradient_descent_step_size,
    importance_ab,
    local_sgd_step_size,
    marina_step_size,
    pp_marina_step_size,
    sampled_ab,
    shift_step_size,
    vr_marina_step_size,
)


N, D = 2, 3
OMEGA, ALPHA = D - 1.0, 1 / D
KEPT = np.array([np.eye(D)[list(kept)] for kept in product(range(D), repeat=N)])
"""What two workers keep, in all nine ways."""
SIGNS = np.array(list(product([-1.0, 1.0], repeat=N)))
PAIRS = np.array(list(product([0, 1], repeat=N)))


def square(v):
    return np.sum(v**2, axis=-1)


class State:
    """Quadratics f_i(x) = ½xᵀA_ix + c_iᵀx with Σ c_i = 0, a model, and numbers to build on."""

    def __init__(self, seed, *, n=N, convex=False):
        self.rng = np.random.default_rng(seed)
        self.convex = convex
        self.A = self.matrices(n)
        c = self.rng.normal(size=(n, D)) * self.size()
        self.c = c - c.mean(0)
        self.mean = self.A.mean(0)
        self.L = np.abs(np.linalg.eigvalsh(self.mean)).max()
        self.L_max = np.abs(np.linalg.eigvalsh(self.A)).max()
        squares = np.mean(self.A @ self.A, axis=0)
        self.L_plus = math.sqrt(np.linalg.eigvalsh(squares)[-1])
        self.L_pm = math.sqrt(max(np.linalg.eigvalsh(squares - self.mean @ self.mean)[-1], 0.0))
        self.x = self.vector()

    def size(self):
        return 10 ** self.rng.uniform(-1, 1)

    def matrices(self, *shape):
        A = self.rng.normal(size=(*shape, D, D))
        return A @ A.swapaxes(-1, -2) if self.convex else A + A.swapaxes(-1, -2)

    def vector(self, *shape):
        return self.rng.normal(size=(*shape, D)) * self.size()

    def f(self, x):
        return 0.5 * np.einsum("...i,ij,...j->...", x, self.mean, x)

    def grad(self, x):
        return x @ self.mean

    def local(self, x):
        """All ∇f_i(x), shape (..., n, d)."""
        return np.einsum("nij,...j->...ni", self.A, x) + self.c


def gradient_descent(s, factor):
    gamma = factor * gradient_descent_step_size(s.L)
    return s.f(s.x - gamma * s.grad(s.x)) - s.f(s.x) + gamma / 2 * square(s.grad(s.x))


def by_coin(s, gamma, p, errors, chance=None):
    """The drift of f + (γ/2p)‖g − ∇f‖²; `errors` gives S − ā in every case, of equal chance."""
    error = s.vector()
    g = s.grad(s.x) + error
    after = (1 - p) * np.average(square(error + errors(s.x - gamma * g)), weights=chance)
    drift = s.f(s.x - gamma * g) - s.f(s.x) + gamma / (2 * p) * (after - square(error))
    return drift + gamma / 2 * square(s.grad(s.x))


def marina(s, factor, p=0.3):
    gamma = factor * marina_step_size(s.L, s.L_plus, s.L_pm, OMEGA / N, 0.0, p)

    def errors(y):
        a = s.local(y) - s.local(s.x)
        return np.mean(D * KEPT * a - a, axis=1)

    return by_coin(s, gamma, p, errors)


def marina_permk(s, factor, p=0.3):
    s = State(s.rng.integers(1 << 30), n=D)
    gamma = factor * marina_step_size(s.L, s.L_plus, s.L_pm, 1.0, 1.0, p)
    kept = np.array([np.eye(D)[list(order)] for order in permutations(range(D))])

    def errors(y):
        a = s.local(y) - s.local(s.x)
        return np.mean(D * kept * a - a, axis=1)

    return by_coin(s, gamma, p, errors)


def marina_sampled(s, factor, p=0.3):
    """One of two workers, by `sampled_ab`."""
    A, B = sampled_ab(OMEGA, 0.0, N, 1)
    gamma = factor * marina_step_size(s.L, s.L_plus, s.L_pm, A, B, p)
    return by_coin(s, gamma, p, lambda y: one_of_two(s, y))


def one_of_two(s, y):
    a = s.local(y) - s.local(s.x)
    return (D * np.eye(D)[:, None] * a - a.mean(0)).reshape(-1, D)


def pp_marina(s, factor, p=0.3):
    """One draw: with and without replacement are the same."""
    gamma = factor * pp_marina_step_size(s.L, s.L_plus, OMEGA, p, 1)
    return by_coin(s, gamma, p, lambda y: one_of_two(s, y))


def marina_importance(s, factor, p=0.3):
    """Two draws with weights (0.2, 0.8), and the constants for these weights."""
    w = np.array([0.2, 0.8])
    squares = np.mean(s.A @ s.A / (N * w[:, None, None]), axis=0)
    L_plus = math.sqrt(np.linalg.eigvalsh(squares)[-1])
    L_pm = math.sqrt(np.linalg.eigvalsh(squares - s.mean @ s.mean)[-1])
    gamma = factor * marina_step_size(s.L, L_plus, L_pm, *importance_ab(OMEGA, 2), p)
    chance = np.repeat([w[i] * w[j] for i, j in PAIRS], len(KEPT))

    def errors(y):
        a = s.local(y) - s.local(s.x)
        drawn = (a / (N * w[:, None]))[PAIRS][:, None]
        return np.mean(D * KEPT * drawn, axis=2).reshape(-1, D) - a.mean(0)

    return by_coin(s, gamma, p, errors, chance)


def samples(s):
    """Two samples a worker, A_ij around A_i, and L_batch of one of them."""
    apart = s.matrices(N) * s.size()
    spread = np.stack([apart, -apart])
    return spread, math.sqrt(np.linalg.eigvalsh(np.mean(apart @ apart, axis=0))[-1])


def vr_marina(s, factor, p=0.3):
    spread, L_batch = samples(s)
    gamma = factor * vr_marina_step_size(s.L, s.L_plus, s.L_pm, L_batch, OMEGA / N, 0.0, p, N)

    def errors(y):
        a = s.local(y) - s.local(s.x)
        noise = np.einsum("snij,j->sni", spread, y - s.x)[PAIRS, np.arange(N)]
        sent = D * KEPT[:, None] * (a + noise) - a
        return np.mean(sent, axis=2).reshape(-1, D)

    return by_coin(s, gamma, p, errors)


def dasha(s, factor):
    gamma, a = factor * dasha_step_size(s.L, s.L_plus, OMEGA, N), 1 / (2 * OMEGA + 1)
    e = s.vector(N) + s.vector()
    g = s.grad(s.x) + e.mean(0)
    y = s.x - gamma * g
    v = s.local(y) - s.local(s.x) - a * e
    after = (1 - a) * e + D * KEPT * v - v

    def memory(e):
        together = square(e.mean(-2)) + 2 * OMEGA * a / N * square(e).mean(-1)
        return gamma / (2 * a * (2 - a)) * together

    drift = s.f(y) - s.f(s.x) + np.mean(memory(after)) - memory(e)
    return drift + gamma / 2 * square(s.grad(s.x))


def dasha_mvr(s, factor, b=0.4):
    spread, L_batch = samples(s)
    gamma = factor * dasha_mvr_step_size(s.L, s.L_plus, L_batch, OMEGA, b, N)
    a, w = 1 / (2 * OMEGA + 1), 2 * OMEGA * (2 * OMEGA + 1) / N
    q, e, offset = s.vector(N) + s.vector(), s.vector(N) + s.vector(), s.vector(N)
    y = s.x - gamma * (s.grad(s.x) + (q + e).mean(0))

    def noise(x):
        both = np.einsum("snij,j->sni", spread, x) + np.stack([offset, -offset])
        return both[PAIRS, np.arange(N)]

    sigma2 = np.mean(square(noise(y)))
    q_after = (1 - b) * q + noise(y) - (1 - b) * noise(s.x)
    v = s.local(y) - s.local(s.x) + q_after - q - a * e
    e_after = (1 - a) * e + D * KEPT[:, None] * v - v

    def memory(q, e):
        sent = square(e.mean(-2)) + 2 * OMEGA * a / N * square(e).mean(-1)
        kept = square(q.mean(-2)) / b + 2 * w * b * square(q).mean(-1)
        return gamma * sent / (a * (2 - a)) + gamma * kept / (2 - b)

    drift = s.f(y) - s.f(s.x) + np.mean(memory(q_after, e_after)) - memory(q, e)
    noisy = 2 * gamma * sigma2 * (w * b**2 + b / (N * (2 - b)) + 2 * w * b**3 / (2 - b))
    return drift + gamma / 2 * square(s.grad(s.x)) - noisy


def ef21(s, factor):
    gamma, (theta, _) = factor * ef21_step_size(s.L, s.L_plus, ALPHA), contraction(ALPHA)
    e = s.vector(N) + s.vector()
    y = s.x - gamma * (s.grad(s.x) + e.mean(0))
    v = s.local(y) - s.local(s.x) - e
    memory = gamma / (2 * theta) * (np.mean(square(KEPT * v - v)) - np.mean(square(e)))
    return s.f(y) - s.f(s.x) + memory + gamma / 2 * square(s.grad(s.x))


def ef21_pp(s, factor, q=0.5):
    """The first worker takes part where the second does not: absences may be tied."""
    gamma, (theta, _) = factor * ef21_pp_step_size(s.L, s.L_plus, ALPHA, q), contraction(q * ALPHA)
    e = s.vector(N) + s.vector()
    y = s.x - gamma * (s.grad(s.x) + e.mean(0))
    v = s.local(y) - s.local(s.x) - e
    after = np.stack([KEPT[:, None] * np.eye(N)[i][:, None] * v - v for i in range(N)])
    memory = gamma / (2 * theta) * (np.mean(square(after)) - np.mean(square(e)))
    return s.f(y) - s.f(s.x) + memory + gamma / 2 * square(s.grad(s.x))


def ef21_sgdm(s, factor, eta=0.4):
    gamma = factor * ef21_sgdm_step_size(s.L, s.L_plus, ALPHA, eta)
    theta, beta = contraction(ALPHA)
    e, q, xi = s.vector(N) + s.vector(), s.vector(N) + s.vector(), s.vector(N)
    y = s.x - gamma * (s.grad(s.x) + (q + e).mean(0))
    moved = (1 - eta) * (q + s.local(s.x) - s.local(y))
    q_after = moved + eta * SIGNS[:, :, None] * xi
    v = q_after + s.local(y) - q - s.local(s.x) - e
    e_after = KEPT[:, None] * v - v

    def memory(q, e):
        of_q = square(q.mean(-2)) / eta + 2 * beta * eta / theta * square(q).mean(-1)
        return gamma * (np.mean(square(e)) / theta + np.mean(of_q))

    drift = s.f(y) - s.f(s.x) + memory(q_after, e_after) - memory(q, e)
    each = eta**2 / N / eta + (1 - ALPHA) * eta**2 / theta + 2 * beta * eta**3 / theta
    return drift + gamma / 2 * square(s.grad(s.x)) - gamma * np.mean(square(xi)) * each


def ef21_bidirectional(s, factor):
    """Models and gradients keep one coordinate of three, drawn apart: 27 ways for two workers."""
    gamma = factor * ef21_bidirectional_step_size(s.L, s.L_plus, ALPHA, ALPHA)
    theta, beta = contraction(ALPHA)
    rho = math.sqrt(beta / theta)
    root_c, together = 1 + math.sqrt(1 - ALPHA), (1 + rho) * s.L_plus * rho
    root_p, root_q = root_c * together, rho * s.L
    r = root_q / root_p
    e, apart = s.vector(N) + s.vector(), s.vector()
    w = s.x + apart
    g = s.local(w) + e
    y = s.x - gamma * g.mean(0)
    u = y - w
    drifts = []
    for kept in np.eye(D):
        w_after = w + kept * u
        v = s.local(w_after) - g
        e_after = KEPT * v - v
        drifts.append((np.mean(square(e_after)), square(w_after - y)))
    errors, distances = np.array(drifts).T
    of_e = gamma * (1 + r) / (2 * theta)
    spread = (1 + r) * beta / theta * s.L_plus**2 * root_c**2 * (1 + 1 / rho)
    of_h = gamma / (2 * theta) * ((1 + 1 / r) * s.L**2 + spread)
    memory = of_e * (errors.mean() - np.mean(square(e)))
    memory += of_h * (distances.mean() - square(apart))
    return s.f(y) - s.f(s.x) + memory + gamma / 2 * square(s.grad(s.x))


def ef21p(s, factor):
    gamma, (theta, _) = factor * ef21p_step_size(s.L, ALPHA), contraction(ALPHA)
    w = s.x + s.vector()
    y = s.x - gamma * s.grad(w)
    after = np.mean(square(np.eye(D) * (y - w) - (y - w)))
    memory = gamma * s.L**2 / (2 * theta) * (after - square(w - s.x))
    return s.f(y) - s.f(s.x) + memory + gamma / 2 * square(s.grad(s.x))


def unlike(s, D):
    """The least ζ² at the model for this D."""
    return max(0.0, np.mean(square(s.local(s.x))) - D * square(s.grad(s.x)))


def ef14(s, factor, unequal=2.0):
    gamma = factor * ef14_step_size(s.L, ALPHA, unequal)
    theta, beta = contraction(ALPHA)
    e = s.vector(N) + s.vector()
    v = e + gamma * s.local(s.x)
    y, y_after = s.x - e.mean(0), s.x - e.mean(0) - gamma * s.grad(s.x)
    after = np.mean(square(v - KEPT * v))
    memory = gamma * s.L**2 / (2 * theta) * (after - np.mean(square(e)))
    allowed = gamma**3 * s.L**2 * beta / (2 * theta) * unlike(s, unequal)
    return s.f(y_after) - s.f(y) + memory + gamma / 4 * square(s.grad(s.x)) - allowed


def diana(s, factor):
    gamma, a = factor * diana_step_size(s.L, s.L_plus, OMEGA, N), shift_step_size(OMEGA)
    theta = 1 - math.sqrt(1 - a)
    e = s.vector(N) + s.vector()
    m = -D * KEPT * e
    y = s.x - gamma * (s.grad(s.x) + np.mean(e + m, axis=1))
    after = e + a * m + s.local(s.x) - s.local(y)
    memory = gamma * OMEGA / (2 * N * theta) * (np.mean(square(after)) - np.mean(square(e)))
    return np.mean(s.f(y)) - s.f(s.x) + memory + gamma / 2 * square(s.grad(s.x))


def diana_convex(s, factor):
    s = State(s.rng.integers(1 << 30), convex=True)
    gamma, a = factor * diana_convex_step_size(s.L, s.L_max, OMEGA, N), shift_step_size(OMEGA)
    e = s.vector(N) + s.vector()  # h_i − ∇f_i(x*), and x* = 0
    m = D * KEPT * (s.local(s.x) - s.c - e)
    y = s.x - gamma * np.mean(e + m, axis=1)
    weight = 4 * OMEGA * (1 + OMEGA) / N * gamma**2
    before = square(s.x) + weight * np.mean(square(e))
    after = np.mean(square(y)) + weight * np.mean(square(e + a * m))
    mu = np.linalg.eigvalsh(s.mean)[0]
    return after - max(1 - gamma * mu, 1 - a / 2) * before


def dcgd(s, factor):
    s = State(s.rng.integers(1 << 30), convex=True)
    gamma = factor * dcgd_step_size(s.L, s.L_max, OMEGA, N)
    y = s.x - gamma * np.mean(D * KEPT * s.local(s.x), axis=1)
    mu = np.linalg.eigvalsh(s.mean)[0]
    floor = 2 * gamma**2 * OMEGA * np.mean(square(s.c)) / N
    return np.mean(square(y)) - (1 - gamma * mu) * square(s.x) - floor


def local_sgd(s, factor, H=3, unequal=2.0):
    gamma, xi = factor * local_sgd_step_size(s.L, s.L_max, H, unequal), s.vector(N)
    signs = np.array(list(product([-1.0, 1.0], repeat=N * H))).reshape(-1, H, N, 1)
    x = np.tile(s.x, (len(signs), N, 1))
    for h in range(H):
        x = x - gamma * (np.einsum("nij,rnj->rni", s.A, x) + s.c + signs[:, h] * xi)
    y, sigma2 = x.mean(1), np.mean(square(xi))
    drift = (H - 1) * (4 / 3 * (2 * H - 1) * unlike(s, unequal) + 2 * sigma2)
    allowed = gamma * H / 2 * s.L_max**2 * gamma**2 * drift + s.L * gamma**2 * H * sigma2 / N
    return np.mean(s.f(y)) - s.f(s.x) + gamma * H / 4 * square(s.grad(s.x)) - allowed


CASES = {
    gradient_descent: 1.5,
    marina: 1.5,
    marina_permk: 2.0,
    marina_sampled: 1.5,
    pp_marina: 2.0,
    marina_importance: 1.5,
    vr_marina: 1.5,
    dasha: 2.0,
    dasha_mvr: 4.0,
    ef21: 2.0,
    ef21_pp: 2.0,
    ef21_sgdm: 3.0,
    ef21p: 2.0,
    ef21_bidirectional: 4.0,
    ef14: 4.0,
    diana: 3.0,
    diana_convex: 3.0,
    dcgd: 3.0,
    local_sgd: 10.0,
}
"""Every method, and a factor with which its drift is too large somewhere."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_theory_holds_at_every_state(case):
    for seed in range(400):
        state = State(seed)
        assert case(state, 1.0) <= 1e-9 * (1 + square(state.x)), seed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_larger_step_breaks_it_at_some_state(case):
    assert any(case(State(seed), CASES[case]) > 1e-6 for seed in range(400))
