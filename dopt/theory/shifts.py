"""Step sizes of compressed gradients with and without shifts, of plain and of local descent.

Compressors are independent, E‖C_i(v) − v‖² ≤ ω‖v‖²; Δ = f(x⁰) − f*, f* finite, f is L-smooth; L_max
is the largest smoothness constant of the f_i and L_plus the root of their mean square, or sharper.
"""

import math

from dopt.errors import ConfigurationError
from dopt.theory._checks import count, nonnegative, positive


def gradient_descent_step_size(L: float) -> float:
    """Gradient descent: γ = 1/L. (1/K) Σ‖∇f(x^k)‖² ≤ 2Δ/(γK), for any γ ≤ 1/L."""
    return 1 / positive("L", L)


def dcgd_step_size(L: float, L_max: float, omega: float, n: int) -> float:
    """DCGD for convex f_i: γ = 1/(L + 2ωL_max/n).

    After Khirirat, Feyzmahdavian, Johansson 2018 (arXiv 1806.06573). Proof: with ζ² the mean of the
    ‖∇f_i(x*)‖², E‖g‖² ≤ ‖∇f‖² + (ω/n)(1/n) Σ‖∇f_i‖² ≤ (2L + 4ωL_max/n)(f − f*) + 2ωζ²/n, so for
    μ-strongly convex f

        E‖x⁺ − x*‖² ≤ (1 − γμ)‖x − x*‖² + 2γ²ωζ²/n:

    linear, down to a floor of 2γωζ²/(nμ), which data that differ leave.
    """
    noise = 2 * nonnegative("omega", omega) / count("n", n) * nonnegative("L_max", L_max)
    return 1 / (positive("L", L) + noise)


def diana_step_size(
    L: float, L_plus: float, omega: float, n: int, shift: float | None = None
) -> float:
    """DIANA for nonconvex f: γ = 1/(L + L_plus √(ω/n)/θ), θ = 1 − √(1 − 2a + a²(1 + ω)).

    Of the order L + (1 + ω)√(ω/n) of Horváth et al. 2019 (arXiv 1904.05115) with our constant:
    θ ≥ 1/(2(1 + ω)) for a = 1/(1 + ω). Proof: with H = (1/n) Σ‖h_i − ∇f_i(x)‖²,

        E H⁺ ≤ (1−θ)H + (L_plus²/θ)E‖x⁺ − x‖²,   E‖x⁺ − x‖² ≤ γ²(‖∇f‖² + (ω/n)H),
        E f(x⁺) ≤ f − γ‖∇f‖² + (L/2)E‖x⁺ − x‖²,

    and Φ = f − f* + (γω/2nθ)H falls by (γ/2)‖∇f‖²: (1/K) Σ E‖∇f(x^k)‖² ≤ 2Φ⁰/(γK).

    Args:
        L: smoothness of f.
        L_plus: see above.
        omega: ω of the compressors.
        n: workers.
        shift: a, how much of a message moves the shift h_i; 1/(1 + ω) by default.

    Raises:
        ConfigurationError: a constant out of range; a ≥ 2/(1 + ω), with which shifts run away.
    """
    omega = nonnegative("omega", omega)
    a = shift_step_size(omega) if shift is None else positive("shift", shift)
    if a * (1 + omega) >= 2:
        raise ConfigurationError(
            f"shift = {a} lets shifts run away: give less than 2/(1 + omega) = {2 / (1 + omega)}"
        )
    left = 1 - 2 * a + a**2 * (1 + omega)
    theta = (1 - left) / (1 + math.sqrt(left))
    memory = nonnegative("L_plus", L_plus) * math.sqrt(omega / count("n", n)) / theta
    return 1 / (positive("L", L) + memory)


def diana_convex_step_size(L: float, L_max: float, omega: float, n: int) -> float:
    """DIANA for convex f_i and a = 1/(1 + ω): γ = 1/(L + 6ωL_max/n).

    Mishchenko et al. 2019 (arXiv 1901.09269). Proof: with D = f − f* and H the mean of the
    ‖h_i − ∇f_i(x*)‖², E‖g‖² ≤ (2L + 4ωL_max/n)D + (2ω/n)H and E H⁺ ≤ (1−a)H + 2aL_maxD; so

        Ψ = ‖x − x*‖² + (4ω(1 + ω)/n)γ²H,   E Ψ⁺ ≤ max{1 − γμ, 1 − a/2}Ψ.
    """
    noise = 6 * nonnegative("omega", omega) / count("n", n) * nonnegative("L_max", L_max)
    return 1 / (positive("L", L) + noise)


def shift_step_size(omega: float) -> float:
    """What part of a message moves a shift of DIANA: a = 1/(1 + ω), the fastest contraction."""
    return 1 / (1 + nonnegative("omega", omega))


def local_sgd_step_size(L: float, L_max: float, local_steps: int, D: float = 1.0) -> float:
    """Local SGD, H steps of size γ on every worker, then the mean of all models.

    γ = min{1/(2LH), 1/(2L_max H), 1/(L_max √(8D(H−1)(2H−1)/3))} for H > 1 and 1/(2L) for H = 1, for
    (1/n) Σ‖∇f_i(x)‖² ≤ D‖∇f(x)‖² + ζ² and noise of variance σ². Our constants. Proof: with ḡ the
    mean of all H·n local gradients, E f(x⁺) ≤ f − (γH/2)(‖∇f‖² − E‖ḡ − ∇f‖²) + Lγ²Hσ²/n for
    γLH ≤ 1/2; ‖ḡ − ∇f‖² is at most L_max² times the mean squared drift, and drifts sum to at most
    twice their first-order part for γL_maxH ≤ 1/2. After K rounds

        (1/K) Σ E‖∇f(x^k)‖² ≤ 4Δ/(γHK) + 4Lγσ²/n
                              + 2L_max²γ²(H−1)((4/3)(2H−1)ζ² + 2σ²).
    """
    H = count("local_steps", local_steps)
    slowest = max(positive("L", L), nonnegative("L_max", L_max) if H > 1 else 0.0)
    drift = 8 / 3 * positive("D", D) * (H - 1) * (2 * H - 1)
    return 1 / max(2 * slowest * H, nonnegative("L_max", L_max) * math.sqrt(drift))
