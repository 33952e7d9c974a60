"""Step sizes of methods with error feedback, for contractive compressors.

E‖C(v) − v‖² ≤ (1 − α)‖v‖² with 0 < α ≤ 1. Always θ = 1 − √(1−α) and β = (1−α)/θ, which are the best
split of E‖C(u + v) − u − v‖² ≤ (1 − θ)‖u‖² + β‖v‖² of this form, and √(β/θ) = √(1−α)/θ ≤ 2/α − 1.

Proofs are for nonconvex L-smooth f bounded below, Δ = f(x⁰) − f*, δ = x⁺ − x; inequality (1) and
the letters L_plus, M are those of `dopt.theory.differences`.
"""

import math
from typing import NamedTuple

from dopt.theory._checks import fraction, nonnegative, positive


class Contraction(NamedTuple):
    """θ and β of a contraction constant α."""

    theta: float
    beta: float


def contraction(alpha: float) -> Contraction:
    """θ = 1 − √(1−α), written without cancellation, and β = (1−α)/θ.

    Raises:
        ConfigurationError: α outside (0, 1].
    """
    theta = fraction("alpha", alpha) / (1 + math.sqrt(1 - alpha))
    return Contraction(theta, (1 - alpha) / theta)


def ef21_step_size(L: float, L_plus: float, alpha: float) -> float:
    """EF21: γ = 1/(L + L_plus √(β/θ)).

    Richtárik, Sokolov, Fatkhullin 2021 (arXiv 2106.05203), Theorem 1. Proof: u = g_i − ∇f_i(x) and
    v = ∇f_i(x) − ∇f_i(x⁺) give E G⁺ ≤ (1 − θ)G + βL_plus²‖δ‖² for G = (1/n) Σ‖g_i − ∇f_i‖², and
    f − f* + (γ/2θ)G falls. (1/K) Σ E‖∇f(x^k)‖² ≤ 2Δ/(γK) + G⁰/(θK).
    """
    theta, beta = contraction(alpha)
    return 1 / (positive("L", L) + nonnegative("L_plus", L_plus) * math.sqrt(beta / theta))


def ef21_pp_step_size(L: float, L_plus: float, alpha: float, q: float) -> float:
    """EF21 where a worker takes part with probability q (r/n for r of n): EF21's with αq.

    Whoever is absent keeps g_i: a compressor that is C with probability q and else 0 has the
    constant αq, and G is a sum over workers, so that it does not matter how their absences are
    tied. Fatkhullin et al. 2021 (arXiv 2110.03294) have another constant of this order.
    """
    return ef21_step_size(L, L_plus, fraction("alpha", alpha) * fraction("q", q))


def ef21_sgdm_step_size(L: float, L_plus: float, alpha: float, eta: float) -> float:
    """EF21-SGDM with momentum η; our constants, of the order of arXiv 2305.15155, Theorem 3.

        1/γ = L + √((4β/θ)(η² + (1−η)²)L_plus² + 2((1−η)/η)²L²).

    Proof: with P = ‖mean(v_i − ∇f_i)‖², Q = (1/n) Σ‖v_i − ∇f_i‖² and G = (1/n) Σ‖g_i − v_i‖²,

        E P⁺ ≤ (1−η)P + ((1−η)²/η)L²‖δ‖² + η²σ²/n,
        E Q⁺ ≤ (1−η)Q + ((1−η)²/η)L_plus²‖δ‖² + η²σ²,
        E G⁺ ≤ (1−θ)G + 2βη²(Q + L_plus²‖δ‖²) + (1−α)η²σ²,

    and ‖g − ∇f‖² ≤ 2G + 2P in (1). Φ = f − f* + (γ/θ)G + (γ/η)P + (2γβη/θ)Q falls but for noise:

        (1/K) Σ E‖∇f(x^k)‖² ≤ 2Φ⁰/(γK) + 2σ²(η/n + (1−α)η²/θ + 2βη³/θ).
    """
    theta, beta = contraction(alpha)
    eta, L = fraction("eta", eta), positive("L", L)
    memory = 4 * beta / theta * (eta**2 + (1 - eta) ** 2) * nonnegative("L_plus", L_plus) ** 2
    return 1 / (L + math.sqrt(memory + 2 * ((1 - eta) / eta * L) ** 2))


def ef21p_step_size(L: float, alpha: float) -> float:
    """EF21-P, models compressed on their way to the workers: γ = 1/(L(1 + √(β/θ))).

    x⁺ = x − γ∇f(w), w⁺ = w + C(x⁺ − w). Gruntkowska, Tyurin, Richtárik 2022 (arXiv 2209.15218)
    treat the convex case; here by H = ‖w − x‖²: E H⁺ ≤ (1−θ)H + β‖δ‖² and ‖∇f(w) − ∇f(x)‖² ≤ L²H,
    so that f(x) − f* + (γL²/2θ)H falls. With w⁰ = x⁰, (1/K) Σ E‖∇f(x^k)‖² ≤ 2Δ/(γK), at the
    *server's* models x^k.
    """
    theta, beta = contraction(alpha)
    return 1 / (positive("L", L) * (1 + math.sqrt(beta / theta)))


def ef21_bidirectional_step_size(
    L: float, L_plus: float, alpha: float, alpha_server: float
) -> float:
    """EF21 with gradients and models compressed: γ = 1/((1 + ρ_s)(L + (1 + √(1−α_s)) ρ L_plus)).

    ρ = √(β/θ) of α and ρ_s of α_s. x⁺ = x − γg, w⁺ = w + C_s(x⁺ − w) and
    g_i⁺ = g_i + C(∇f_i(w⁺) − g_i): EF21-BC of Fatkhullin et al. 2021 (arXiv 2110.03294), with our
    constants. They hold where compressors differ from step to step, with the least α and α_s of
    them. Proof: for
    G = (1/n) Σ‖g_i − ∇f_i(w)‖², H = ‖w − x‖², any s, r > 0 and c = (1 + √(1−α_s))²,

        E H⁺ ≤ (1−θ_s)H + β_s‖δ‖²,
        E G⁺ ≤ (1−θ)G + βL_plus² E‖w⁺ − w‖²,   E‖w⁺ − w‖² ≤ c((1+s)H + (1+1/s)‖δ‖²),
        ‖g − ∇f(x)‖² ≤ (1+r)G + (1+1/r)L²H.

    Φ = f(x) − f* + (γ(1+r)/2θ)G + BH falls with B = (γ/2θ_s)((1+1/r)L² + (1+r)(β/θ)L_plus²c(1+s))
    where 1/γ − L ≥ γ((1+r)P + (1+1/r)Q), for s = 1/ρ_s, P = cρ²L_plus²(1+ρ_s)², Q = ρ_s²L²; with
    the best r that is γ(√P + √Q)², and γ = 1/(L + √P + √Q) will do. (1/K) Σ E‖∇f(x^k)‖² ≤
    2Φ⁰/(γK). Uncompressed models give EF21's step size, uncompressed gradients EF21-P's.
    """
    rho, rho_server = (math.sqrt(c.beta / c.theta) for c in map(contraction, (alpha, alpha_server)))
    moved = (1 + math.sqrt(1 - alpha_server)) * rho * nonnegative("L_plus", L_plus)
    return 1 / ((1 + rho_server) * (positive("L", L) + moved))


def ef14_step_size(L: float, alpha: float, D: float = 1.0) -> float:
    """EF14 (error feedback, EC-SGD) with exact gradients: γ = 1/(L(2 + √(2Dβ/θ))).

    For (1/n) Σ‖∇f_i(x)‖² ≤ D‖∇f(x)‖² + ζ², where n = 1 or equal data have D = 1 and ζ = 0. Our
    constants, the idea of Stich, Karimireddy 2019 (arXiv 1909.05350). Proof: y = x − mean e_i moves
    by −γ∇f(x), E = (1/n) Σ‖e_i‖² obeys E E⁺ ≤ (1−θ)E + βγ²(D‖∇f(x)‖² + ζ²), and

        f(y⁺) ≤ f(y) − (γ/2)(1 − Lγ)‖∇f(x)‖² + (γ/2)L²E.

    Φ = f(y) − f* + (γL²/2θ)E, and Lγ + DL²γ²β/θ ≤ 1/2:

        (1/K) Σ E‖∇f(x^k)‖² ≤ 4Δ/(γK) + 2γ²L²(β/θ)ζ².
    """
    theta, beta = contraction(alpha)
    return 1 / (positive("L", L) * (2 + math.sqrt(2 * positive("D", D) * beta / theta)))
