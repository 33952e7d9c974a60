"""Step sizes of theory, each with the number of server steps that its theorem asks for.

All are for nonconvex L-smooth f with Δ = f(x⁰) − f* and for the target
(1/K) Σ_{k<K} E‖∇f(x^k)‖² ≤ ε: ε bounds the *squared* norm, also where the paper (MARINA) writes ε².

For a method without memory K comes from the descent lemma, whatever constant its paper states: for
unbiased g with E‖g − ∇f‖² ≤ a‖∇f‖² + c,

    (1 − Lγ(1 + a)/2) · (1/K) Σ E‖∇f(x^k)‖² ≤ Δ/(γK) + Lγc/2.
"""

import math
from typing import NamedTuple

import numpy as np

from dopt.theory._checks import nonnegative, positive
from dopt.theory.differences import marina_step_size
from dopt.theory.error_feedback import contraction, ef21_step_size


class Guarantee(NamedTuple):
    """A step size γ = `gamma`, and K = ⌈`steps_per_gap` · Δ + `steps_at_start`⌉."""

    gamma: float
    steps_per_gap: float
    steps_at_start: float = 0.0

    def steps(self, Delta: float) -> float:
        """K, a whole number ≥ 1, for Δ = `Delta` ≥ 0; inf where nothing is promised."""
        nonnegative("Delta", Delta)
        if self.steps_per_gap == math.inf:
            return math.inf
        return max(1.0, float(np.ceil(self.steps_per_gap * Delta + self.steps_at_start)))


def steps_to_accuracy(
    gamma: float, L: float, Delta: float, eps: float, a: float, c: float
) -> float:
    """K after which the mean of E‖∇f(x^k)‖² is at most ε, for any step size: the descent lemma.

    The least K with Δ/(γK) + Lγc/2 ≤ ε (1 − Lγ(1 + a)/2); inf where there is none.
    """
    positive("gamma", gamma)
    return Guarantee(gamma, _steps_per_gap(gamma, L, eps, a, c)).steps(Delta)


def sgd(L: float, eps: float, a: float, c: float) -> Guarantee:
    """SGD with E‖g − ∇f‖² ≤ a‖∇f‖² + c: γ = min{1/(L(1+a)), ε/(2Lc)}, K ≤ ⌈4Δ/(γε)⌉.

    The descent lemma, as in Ghadimi and Lan (arXiv 1309.5549) for a = 0.
    """
    gamma = 1 / (positive("L", L) * (1 + nonnegative("a", a)))
    if nonnegative("c", c) > 0:
        gamma = min(gamma, positive("eps", eps) / (2 * L * c))
    return Guarantee(gamma, _steps_per_gap(gamma, L, eps, a, c))


def sgd_one(L: float, eps: float, sigma2: float) -> Guarantee:
    """SGD on one worker: γ = min{1/L, ε/(2Lσ²)}, K of order LΔ/ε + σ²LΔ/ε²."""
    return sgd(L, eps, 0.0, sigma2)


def minibatch_sgd(L: float, eps: float, sigma2: float, batch: int) -> Guarantee:
    """Minibatch SGD: γ = min{1/L, Bε/(2Lσ²)} for `batch` B, K of order LΔ/ε + σ²LΔ/(Bε²).

    B = n for one gradient a worker, and B = m for the first m arrivals of a round (m-synchronous
    SGD, arXiv 2602.03802).
    """
    return sgd(L, eps, 0.0, nonnegative("sigma2", sigma2) / positive("batch", batch))


def rennala_sgd(L: float, eps: float, sigma2: float) -> Guarantee:
    """Rennala SGD (arXiv 2305.12387): minibatch SGD with B = max{1, ⌈σ²/ε⌉}, K ≤ ⌈8LΔ/ε⌉.

    The paper's own constant is about 24 in place of 8.
    """
    noise_ratio = nonnegative("sigma2", sigma2) / positive("eps", eps)
    return minibatch_sgd(L, eps, sigma2, noise_batch(noise_ratio))


def noise_batch(noise_ratio: float) -> int:
    """max{1, ⌈S⌉}: the batch B of Rennala SGD and the delay bound R of Ringmaster ASGD."""
    return max(1, math.ceil(nonnegative("noise_ratio", noise_ratio)))


def qsgd(L: float, eps: float, sigma2: float, omega: float, n: int) -> Guarantee:
    """QSGD with homogeneous data: γ = min{1/(L(1 + ω/n)), nε/(2(1 + ω)Lσ²)}.

    The mean of n independent C(∇f(x; ξ)), C in U(ω), has a = ω/n and c = (1 + ω)σ²/n; K is of order
    (1 + ω/n)LΔ/ε + (1 + ω)σ²LΔ/(nε²).
    """
    positive("n", n)
    c = (1 + nonnegative("omega", omega)) * nonnegative("sigma2", sigma2) / n
    return sgd(L, eps, omega / n, c)


def shadowheart_sgd(L: float, eps: float, N: float = 1.0) -> Guarantee:
    """Shadowheart SGD (arXiv 2402.04785): γ = min{1, N}/(2L), K ≤ ⌈8LΔ/ε⌉ for N ≥ 1.

    `N` is that of the plan; the default holds for every plan with N ≥ 1. By the variance lemma
    a = 1/N and c = ε/N. The paper states 16LΔ/ε; a step takes at most 2t*.
    """
    positive("N", N)
    gamma = min(1.0, N) / (2 * positive("L", L))
    return Guarantee(gamma, _steps_per_gap(gamma, L, eps, 1 / N, eps / N))


def asynchronous_sgd(L: float, eps: float, sigma2: float, R: int) -> Guarantee:
    """Asynchronous SGD with delays below R: γ = min{1/(2RL), ε/(4Lσ²)}, K = 8RLΔ/ε + 16σ²LΔ/ε².

    The theorem of Ringmaster ASGD (arXiv 2501.16168), which enforces the bound by discarding, with
    R = `noise_batch(σ²/ε)`. For plain asynchronous SGD, R is the largest delay plus one.
    """
    gamma = 1 / (2 * positive("R", R) * positive("L", L))
    per_gap = 8 * R * L / positive("eps", eps)
    if nonnegative("sigma2", sigma2) > 0:
        gamma = min(gamma, eps / (4 * L * sigma2))
        per_gap += 16 * sigma2 / eps * L / eps
    return Guarantee(gamma, per_gap)


def ef21(L: float, L_plus: float, eps: float, alpha: float, error: float = 0.0) -> Guarantee:
    """EF21 (arXiv 2106.05203): γ = 1/(L + L_plus √(β/θ)), θ = 1 − √(1−α), β = (1−α)/θ.

    Theorem 1: the mean of E‖∇f(x^k)‖² is at most 2Δ/(γK) + E[G⁰]/(θK).

    Args:
        L: smoothness of f.
        L_plus: root of the mean of the squared constants of the f_i, or its sharper form.
        eps: target of the squared norm.
        alpha: contraction constant of the compressor, in (0, 1].
        error: E[G⁰], G⁰ = (1/n) Σ‖g_i⁰ − ∇f_i(x⁰)‖²; 0 after a dense first round.
    """
    gamma = ef21_step_size(L, L_plus, alpha)
    start = nonnegative("error", error) / contraction(alpha).theta / positive("eps", eps)
    return Guarantee(gamma, 2 / gamma / eps, start)


def marina(L: float, L_plus: float, eps: float, omega: float, p: float, n: int) -> Guarantee:
    """MARINA (arXiv 2102.07845): γ = 1/(L + L_plus √((1−p)ω/(pn))), K = 2Δ/(γε).

    Theorem 2.1, for independent compressors in U(ω), a dense first round and coins of probability
    `p`, with local gradients that are exact.
    """
    A = nonnegative("omega", omega) / positive("n", n)
    gamma = marina_step_size(L, L_plus, L_plus, A, 0.0, p)
    return Guarantee(gamma, 2 / gamma / positive("eps", eps))


def _steps_per_gap(gamma: float, L: float, eps: float, a: float, c: float) -> float:
    """K/Δ of the descent lemma: 1 / (γ (ε (1 − Lγ(1 + a)/2) − Lγc/2)), or inf."""
    Lg = positive("L", L) * gamma
    left = positive("eps", eps) * (1 - Lg * (1 + nonnegative("a", a)) / 2)
    left -= Lg * nonnegative("c", c) / 2
    return 1 / gamma / left if left > 0 else math.inf
