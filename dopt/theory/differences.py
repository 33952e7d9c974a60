"""Step sizes of methods that compress gradient differences: MARINA and its kin, DASHA.

All are for nonconvex L-smooth f bounded below. With x⁺ = x − γg and δ = x⁺ − x, smoothness gives

    f(x⁺) ≤ f(x) − (γ/2)‖∇f(x)‖² − (1/(2γ) − L/2)‖δ‖² + (γ/2)‖g − ∇f(x)‖².              (1)

Where a Lyapunov function f − f* + memory leaves (γ/2)M‖δ‖² of the last term, it falls by
(γ/2)‖∇f(x)‖² a step as soon as Lγ + Mγ² ≤ 1, and γ = 1/(L + √M) is such a step.

    letter   meaning
    L_plus   (1/n) Σ‖∇f_i(x) − ∇f_i(y)‖² ≤ L_plus² ‖x − y‖²
    L_pm     the same sum less ‖∇f(x) − ∇f(y)‖² ≤ L_pm² ‖x − y‖²; a bound above L_plus is cut to it
    A, B     E‖S(a_1, …, a_n) − ā‖² ≤ A·(1/n) Σ‖a_i‖² − B‖ā‖², of what n workers send together
    ω        E‖C_i(a) − a‖² ≤ ω‖a‖²

With weights w_i > 0 that sum to 1, the sums over ‖a_i‖² and ‖∇f_i(x) − ∇f_i(y)‖² have the factors
1/(n w_i); give A, B, L_plus and L_pm for the same weights and every formula stays as it is.
"""

import math
from typing import Literal

from dopt.errors import ConfigurationError
from dopt.theory._checks import count, fraction, nonnegative, positive


def marina_step_size(L: float, L_plus: float, L_pm: float, A: float, B: float, p: float) -> float:
    """MARINA: γ = 1/(L + √((1−p)/p · ((A − B)L_plus² + B·L_pm²))).

    Szlendak, Tyurin, Richtárik 2021 (arXiv 2110.03300); with A = ω/n and B = 0, independent
    compressors, Theorem 2.1 of arXiv 2102.07845. Proof: with a_i = ∇f_i(x⁺) − ∇f_i(x) and one coin,
    E‖g⁺ − ∇f(x⁺)‖² ≤ (1−p)(‖g − ∇f(x)‖² + ((A − B)L_plus² + B·L_pm²)‖δ‖²), because S is unbiased
    given the past; take f − f* + (γ/2p)‖g − ∇f‖² and (1). After a dense first round

        (1/K) Σ E‖∇f(x^k)‖² ≤ 2Δ/(γK).

    Raises:
        ConfigurationError: a constant out of range, or B > A.
    """
    noise = family_noise(L_plus, L_pm, A, B)
    return _step(L, (1 - fraction("p", p)) / p * noise)


def vr_marina_step_size(
    L: float,
    L_plus: float,
    L_pm: float,
    L_batch: float,
    A: float,
    B: float,
    p: float,
    n: int,
) -> float:
    """VR-MARINA: γ = 1/(L + √((1−p)/p · ((A−B)L_plus² + B·L_pm² + (A + (1−B)/n)L_batch²))).

    Algorithm 2 of arXiv 2102.07845, where A = ω/n and B = 0: ωL_plus² + (1 + ω)L_batch² over n.
    Proof: the differences on minibatches are â_i, independent and unbiased for a_i. Given them S is
    unbiased, so E‖S(â) − ā‖² ≤ A·E(1/n) Σ‖â_i‖² − B·E‖mean â‖² + E‖mean â − ā‖², and the three
    expectations are those of a_i plus v, ‖ā‖² plus v/n and v/n, with v the mean variance of the
    â_i, at most L_batch²‖δ‖². Dense rounds send exact local gradients; the rest is as for MARINA.

    Args:
        L: smoothness of f.
        L_plus: as in the module's table.
        L_pm: likewise.
        L_batch: (1/n) Σ E‖â_i − a_i‖² ≤ L_batch²‖x − y‖². For batches of b drawn with replacement,
            ℒ/√b with ℒ² the mean over all samples of the squared smoothness constants.
        A: of the family.
        B: of the family.
        p: probability of a dense round.
        n: workers.
    """
    noise = family_noise(L_plus, L_pm, A, B)
    noise += (A + (1 - B) / count("n", n)) * nonnegative("L_batch", L_batch) ** 2
    return _step(L, (1 - fraction("p", p)) / p * noise)


def pp_marina_step_size(L: float, L_plus: float, omega: float, p: float, r: int) -> float:
    """PP-MARINA: γ = 1/(L + L_plus √((1−p)(1+ω)/(pr))), r sampled workers in compressed rounds.

    Algorithm 4 of arXiv 2102.07845 (the constant from memory, here with a proof): r draws with
    replacement have A = (1 + ω)/r and B = 1/r, draws without have less (`sampled_ab`), and the
    paper drops B. `marina_step_size` with `sampled_ab` is never smaller.
    """
    ratio = (1 + nonnegative("omega", omega)) / count("r", r)
    return marina_step_size(L, L_plus, L_plus, ratio, 0.0, p)


def dasha_step_size(
    L: float,
    L_plus: float,
    omega: float,
    n: int,
    *,
    constants: Literal["proven", "published", "code"] = "proven",
) -> float:
    """DASHA with a = 1/(2ω + 1): γ = 1/(L + L_plus √(c/n)).

    Proof for c = 2ω(2ω + 1), with e_i = g_i − ∇f_i(x), independent compressors and
    E‖C_i(v) − v‖² ≤ ω‖v‖² for v = ∇f_i(x⁺) − ∇f_i(x) − a·e_i, ‖v‖² ≤ 2‖∇f_i(x⁺) − ∇f_i(x)‖² +
    2a²‖e_i‖²:

        E‖mean e⁺‖² ≤ (1−a)²‖mean e‖² + (2ω/n)(L_plus²‖δ‖² + a²·mean‖e_i‖²),
        E mean‖e_i⁺‖² ≤ (1−a)·mean‖e_i‖² + 2ωL_plus²‖δ‖²,

    since (1−a)² + 2ωa² = 1 − a. Take f − f* + b‖mean e‖² + (2ωab/n)·mean‖e_i‖² with
    b = γ/(2a(2−a)); both memories stay, and M = 2ω(2ω + 1)L_plus²/n. For g_i = ∇f_i(x⁰) at the
    start (1/K) Σ E‖∇f(x^k)‖² ≤ 2Δ/(γK).

    Args:
        L: smoothness of f.
        L_plus: as in the module's table.
        omega: ω of the compressors.
        n: workers.
        constants: `"proven"` is the above. `"published"`, c = 16ω(2ω + 1), is Tyurin, Richtárik
            2022 (arXiv 2202.01268), from memory: smaller steps. `"code"`, c = ω(4ω + 1), is what
            their code uses; no proof is known here, and the two recursions do not give it (with
            differences that point along the errors they reach c = 5.89 for ω = 1, not 5).
    """
    omega = nonnegative("omega", omega)
    c = {
        "proven": 2 * omega * (2 * omega + 1),
        "published": 16 * omega * (2 * omega + 1),
        "code": omega * (4 * omega + 1),
    }
    if constants not in c:
        raise ConfigurationError(f"constants = {constants!r} are not known: give one of {list(c)}")
    return _step(L, nonnegative("L_plus", L_plus) ** 2 * c[constants] / count("n", n))


def dasha_mvr_step_size(
    L: float, L_plus: float, L_batch: float, omega: float, b: float, n: int
) -> float:
    """DASHA-MVR, momentum b and a = 1/(2ω + 1); our constants, of the order of arXiv 2202.01268.

        1/γ = L + √(4w(L_plus² + q) + 4q/(nb(2−b)) + 8wbq/(2−b)),
        w = 2ω(2ω + 1)/n,   q = (1−b)²L_batch².

    Proof: let q_i = h_i − ∇f_i(x), e_i = g_i − h_i. Then q_i⁺ = (1−b)q_i + noise of variance
    s = 2b²σ² + 2q‖δ‖² in the mean, and h_i⁺ − h_i = ∇f_i(x⁺) − ∇f_i(x) − b·q_i + noise has a mean
    square of at most 2L_plus²‖δ‖² + 2b²·mean‖q_i‖² + s. The e_i obey the recursions of DASHA with
    h_i⁺ − h_i for the differences, and ‖g − ∇f‖² ≤ 2‖mean e‖² + 2‖mean q‖². Take

        Φ = f − f* + γ(‖mean e‖² + (2ωa/n)mean‖e_i‖²)/(a(2−a))
            + γ‖mean q‖²/(b(2−b)) + (2γwb/(2−b))·mean‖q_i‖²,

        (1/K) Σ E‖∇f(x^k)‖² ≤ 2Φ⁰/(γK) + 4σ²(wb² + b/(n(2−b)) + 2wb³/(2−b)).

    Args:
        L: smoothness of f.
        L_plus: as in the module's table.
        L_batch: E‖noise of ∇f_i(x; ξ) − ∇f_i(y; ξ)‖² ≤ L_batch²‖x − y‖² for the batch of a step,
            in the mean over workers; σ² is of the same batch.
        omega: ω of the compressors.
        b: momentum, in (0, 1].
        n: workers.
    """
    b, omega, n = fraction("b", b), nonnegative("omega", omega), count("n", n)
    w = 2 * omega * (2 * omega + 1) / n
    q = (1 - b) ** 2 * nonnegative("L_batch", L_batch) ** 2
    memory = 4 * w * (nonnegative("L_plus", L_plus) ** 2 + q)
    memory += 4 * q / (n * b * (2 - b)) + 8 * w * b * q / (2 - b)
    return _step(L, memory)


def sampled_ab(A: float, B: float, n: int, r: int) -> tuple[float, float]:
    """A and B of r workers drawn without replacement from n, whose messages have A and B for r.

    A + s(1 − B) and B + s(1 − B) with s = (n − r)/(r(n − 1)): with I the sample, E‖S − ā‖² is
    E‖S − ā_I‖² + E‖ā_I − ā‖², at most A·(1/n) Σ‖a_i‖² + (1 − B)E‖ā_I‖² − ‖ā‖², and the mean over a
    sample has E‖ā_I‖² = ‖ā‖² + s((1/n) Σ‖a_i‖² − ‖ā‖²). Exact where A and B are; the messages'
    randomness must not depend on who is drawn. For independent messages A = ω/r, B = 0; for PermK
    with d ≥ r A = B = 1, and sampling costs nothing.
    """
    if not count("r", r) <= count("n", n):
        raise ConfigurationError(f"r = {r} of n = {n} workers; draw at most all of them")
    _ordered(A, B)
    s = 0.0 if n == r else (n - r) / (r * (n - 1))
    return A + s * (1 - B), B + s * (1 - B)


def importance_ab(omega: float, r: int) -> tuple[float, float]:
    """A = (1 + ω)/r and B = 1/r of r draws with replacement, worker i with probability w_i.

    The message of a draw counts 1/(n w_i): S = (1/r) Σ C(a_i)/(n w_i), a mean of r independent
    vectors, so E‖S − ā‖² = (E‖C(a_i)/(n w_i)‖² − ‖ā‖²)/r, with weights w_i in the inequality. Exact
    where ω is. With w_i ∝ L_i, L_plus is the mean of the L_i instead of their root mean square.
    """
    return (1 + nonnegative("omega", omega)) / count("r", r), 1 / r


def family_noise(L_plus: float, L_pm: float, A: float, B: float) -> float:
    """(A − B)L_plus² + B·L_pm²: for a_i = ∇f_i(x) − ∇f_i(y), E‖S(a) − ā‖² ≤ this · ‖x − y‖²."""
    _ordered(A, B)
    L_plus, L_pm = nonnegative("L_plus", L_plus), nonnegative("L_pm", L_pm)
    return (A - B) * L_plus**2 + B * min(L_pm, L_plus) ** 2


def _ordered(A: float, B: float) -> None:
    if nonnegative("B", B) > nonnegative("A", A):
        raise ConfigurationError(
            f"B = {B} exceeds A = {A}, and no error is negative where all workers send the same; "
            "give B <= A"
        )


def _step(L: float, M: float) -> float:
    """1/(L + √M)."""
    return 1 / (positive("L", L) + math.sqrt(M))
