"""Unbiasedness, ω, α and the limit of ω, measured."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.stats import norm

from compressors import AsymptoticallyUnbiased, Compressor, Constant, Contractive, Unbiased
from theory_checks.battery.findings import Finding, rounding
from theory_checks.battery.moments import Moments, measure, sample, uncertainty


FALSE_ALARM = 1e-6
"""Chance that a check of unbiasedness fails an unbiased compressor, over all its comparisons."""

EVENTS = 32
"""Draws per unit of 1 + ω: a coordinate that travels with probability 1/(1 + ω) is seen so often
that its mean has a standard error."""

SIGMAS = 5.0
"""Standard errors allowed between a measured variance and the declared constant."""

RESOLVED = 0.05
"""An exact constant counts as attained only where it is measured to this relative precision."""

FLAT = ("constant",)
"""Vectors along which a bias shows best; they are resolved, with more draws than the others."""

FEW_DIMENSIONS, MANY_DIMENSIONS = 32, 512
"""Where limits in d are watched: at least so many dimensions, and 16 times as many."""

LIMIT_DRAWS = 4096
"""Draws for limits in d: the bias of a whole vector needs few."""


class MeasuredConstant(NamedTuple):
    """A declared constant beside its measurement at the vector where it was worst.

    `low` and `high` are `SIGMAS` standard errors to either side.
    """

    name: str
    declared: float
    kind: str
    measured: float
    low: float
    high: float
    vector: str


class Promises(NamedTuple):
    """What the promises of a compressor came to; `bias` is the worst z-score, None without one."""

    findings: list[Finding]
    constants: list[MeasuredConstant]
    bias: float | None


def least_draws(compressor: Compressor, d: int) -> int:
    """Draws in which what is sent rarely is seen often enough for a standard error."""
    least = 1
    if isinstance(compressor, Unbiased):
        least = EVENTS * (1 + math.ceil(compressor.omega(d).value))
    if isinstance(compressor, Contractive) and 0 < (alpha := compressor.alpha(d).value) <= 1:
        least = max(least, math.ceil(EVENTS / alpha))
    return least


def promises(
    compressor: Compressor,
    tests: Mapping[str, Float[np.ndarray, " d"]],
    key: PRNGKeyArray,
    draws: int,
) -> Promises:
    """Every promise of `compressor` over the test vectors, all of one float dtype."""
    x = tests["gaussian"]
    d, slack = x.size, rounding(x.dtype)
    findings = [_zero(compressor, tests["zero"], key)]
    constants: list[MeasuredConstant] = []
    bias = None
    runs: list[Moments] = []
    if isinstance(compressor, Unbiased | Contractive):
        hidden = isinstance(compressor, Unbiased) and compressor.omega(d).value > 0
        least = draws if hidden else min(draws, least_draws(compressor, d))
        runs = [
            measure(compressor, name, x, key, draws, least=least, resolve=name in FLAT)
            for name, x in tests.items()
            if name not in ("zero", "subnormal")
        ]
    if isinstance(compressor, Unbiased):
        omega = compressor.omega(d)
        findings.append(_random(next(run for run in runs if run.vector == "gaussian"), slack))
        allowed = slack * math.sqrt(1 + omega.value)
        centred = [
            check_centred("unbiased, each coordinate", runs, slice(0, d), allowed),
            check_centred(
                "unbiased, projections on x, sign x and 1", runs, slice(d, d + 3), allowed
            ),
        ]
        findings += centred
        bias = max(finding.measured for finding in centred)
        _add(findings, constants, check_constant("omega", omega, runs, slack))
    if isinstance(compressor, Contractive):
        alpha = compressor.alpha(d)
        inside = 0 < alpha.value <= 1
        findings.append(Finding("alpha in (0, 1]", inside, alpha.value, 1, alpha.note))
        rest = alpha._replace(value=1 - alpha.value)
        _add(findings, constants, check_constant("1 - alpha", rest, runs, slack))
    if isinstance(compressor, AsymptoticallyUnbiased):
        _add(findings, constants, _limits(compressor, d, key, x.dtype))
    return Promises(findings, constants, bias)


def _add(
    findings: list[Finding],
    constants: list[MeasuredConstant],
    more: tuple[MeasuredConstant, list[Finding]],
) -> None:
    constants.append(more[0])
    findings.extend(more[1])


def _zero(compressor: Compressor, zero: Float[np.ndarray, " d"], key: PRNGKeyArray) -> Finding:
    sums = sample(compressor, zero, key, np.int32(0))
    largest = float(np.maximum(-sums.low, sums.high)[: zero.size].max())
    return Finding("zero stays zero", largest == 0, largest, 0, "largest entry")


def _random(run: Moments, slack: float) -> Finding:
    """Two keys gave two results, or every key gave x."""
    passed = run.random or run.longest <= slack
    detail = f"longest error, the same for {run.draws} keys"
    return Finding("other keys, other bits", passed, run.longest, slack, detail)


def check_centred(name: str, runs: list[Moments], which: slice, slack: float) -> Finding:
    """Means that should be zero, by z-score with Bonferroni's correction.

    What is unseen is taken to be no longer than the longest error that is seen at the same vector,
    or at any where that one shows no randomness. What is reported is the worst mean over its
    `uncertainty`, in units of z.
    """
    comparisons = sum(run.mean[which].size for run in runs)
    z = float(norm.isf(FALSE_ALARM / (2 * comparisons)))
    longest = max(run.longest for run in runs)
    bias = np.stack([np.abs(run.mean[which]) for run in runs])
    allowed = slack + np.stack(
        [uncertainty(run, z, run.longest if run.random else longest)[which] for run in runs]
    )
    worst = np.unravel_index(np.argmax(bias / allowed), bias.shape)
    score = z * float(bias[worst] / allowed[worst])
    detail = f"z-score and its bound, vector {runs[worst[0]].vector!r}, entry {worst[1]}"
    return Finding(name, score <= z, score, z, detail)


def check_constant(
    name: str, constant: Constant, runs: list[Moments], slack: float
) -> tuple[MeasuredConstant, list[Finding]]:
    """E‖C(x) − x‖² ≤ declared·‖x‖², and equality somewhere where the constant is called exact."""
    declared = constant.value
    slack *= 1 + declared
    ratio = np.array([run.mean[-1] for run in runs])
    error = np.array([SIGMAS * run.sd[-1] / math.sqrt(run.draws) for run in runs])
    worst = int(np.argmax(ratio - error))
    passed = bool(ratio[worst] <= declared + error[worst] + slack)
    findings = [
        Finding(f"{name} holds", passed, float(ratio[worst]), declared, _at(runs, error, worst))
    ]
    if constant.kind == "exact":
        gap = np.abs(ratio - declared)
        attained = (gap <= error + slack) & (error <= RESOLVED * declared + slack)
        best = int(np.argmin(np.where(attained, 0.0, gap) + error))
        check, detail = f"{name} is attained", _at(runs, error, best)
        findings.append(Finding(check, bool(attained.any()), float(ratio[best]), declared, detail))
    return _measured(name, constant, ratio[worst], error[worst], runs[worst].vector), findings


def _limits(
    compressor: AsymptoticallyUnbiased, d: int, key: PRNGKeyArray, dtype: np.dtype
) -> tuple[MeasuredConstant, list[Finding]]:
    """On a Gaussian vector the bias declines with d, and the variance comes to its limit."""
    factor = MANY_DIMENSIONS // FEW_DIMENSIONS
    few = max(d, FEW_DIMENSIONS)
    runs, biases = [], []
    for size in (few, factor * few):
        x = np.random.default_rng(0).standard_normal(size).astype(dtype)
        run = measure(compressor, f"gaussian, d = {size}", x, key, LIMIT_DRAWS)
        noise = run.sd[:size] ** 2 / run.draws
        square = max(float((run.mean[:size] ** 2 - noise).sum()), 0.0)
        biases.append((math.sqrt(square), 2 * math.sqrt(math.sqrt(2 * float((noise**2).sum())))))
        runs.append(run)
    (before, _), (after, blur) = biases
    declines = after <= max(before / 2, blur + rounding(dtype))
    detail = f"norm of the bias over |x| at d = {few} and {factor * few}"
    findings = [Finding("the bias declines with d", declines, after, before, detail)]
    limit = compressor.limit_omega()
    ratio = [float(run.mean[-1]) for run in runs]
    error = np.array([SIGMAS * run.sd[-1] / math.sqrt(run.draws) for run in runs])
    gaps = [abs(value - limit.value) for value in ratio]
    slack = RESOLVED * limit.value + float(error[1])
    detail = _at(runs, error, 1)
    if limit.kind == "exact":
        near = gaps[1] <= max(gaps[0] / 2, slack)
        findings.append(Finding("limit_omega is approached", near, ratio[1], limit.value, detail))
    else:
        below = ratio[1] <= limit.value + slack
        findings.append(Finding("limit_omega holds", below, ratio[1], limit.value, detail))
    return _measured("limit omega", limit, ratio[1], error[1], runs[1].vector), findings


def _measured(
    name: str, constant: Constant, ratio: float, error: float, vector: str
) -> MeasuredConstant:
    ratio, error = float(ratio), float(error)
    return MeasuredConstant(
        name, constant.value, constant.kind, ratio, ratio - error, ratio + error, vector
    )


def _at(runs: list[Moments], error: Float[np.ndarray, " runs"], run: int) -> str:
    return f"vector {runs[run].vector!r}, {SIGMAS:g} standard errors are {error[run]:.2g}"
