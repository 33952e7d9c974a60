"""The study `marina-quadratics`: MARINA with correlated and with independent messages.

How many bits does a worker send until ‖∇f(x)‖² ≤ ε, with correlated quantization, independent
quantization, PermK and RandK, as workers become more and as they come to differ? After the
experiments of Szlendak, Tyurin, Richtárik (arXiv 2110.03300) and Panferov, Demidovich, Rammal,
Richtárik (arXiv 2401.05518), on their quadratics with a controlled Hessian variance.

p minimises the bits that theory promises; the step size is theory's times a tuned factor. At λ = 0
workers differ by linear functions alone, L_± = 0, and correlated quantization has the smaller
constant of equal inputs; elsewhere theory gives it no more than independent quantization.
"""

import jax.numpy as jnp

from compressors import (
    CorrelatedQuantization,
    IndependentFamily,
    IndependentQuantization,
    PermK,
    RandK,
)
from dopt.methods import GradientDescent
from dopt.problems import HeterogeneousQuadratics
from experiments.clusters import cluster_of_all, titled
from experiments.multiples import alone, check, cluster_of, marina, study_of, with_theory
from experiments.settings import MarinaQuadratics
from experiments.study import Entry, Limits, Regime, Study


def entries_of(problem: HeterogeneousQuadratics) -> tuple[Entry, ...]:
    """The rows of the table; RandK sends as many coordinates as PermK."""
    d, n = problem.d, problem.n
    families = {
        "MARINA, CQ": CorrelatedQuantization(),
        "MARINA, IQ": IndependentQuantization(),
        "MARINA, PermK": PermK(),
        "MARINA, RandK": IndependentFamily(RandK(max(1, -(-d // n)))),
    }
    descent = with_theory("dense", GradientDescent(1.0), problem, n)
    return (
        alone(GradientDescent.name, descent),
        *(alone(label, marina("", family, problem, n)) for label, family in families.items()),
    )


def build(settings: MarinaQuadratics, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    check(settings, ("dimension", "vectors", "rounds"), ("workers", "spreads"))
    d, given = settings.dimension, cluster_of_all(settings.cluster)
    counts = settings.workers if given is None else (given.n,)
    regimes = []
    for row, spread in enumerate(settings.spreads):
        for n in counts:
            problem = HeterogeneousQuadratics.draw(n, d, spread=spread, dtype=jnp.float32)
            config = {"name": "heterogeneous-quadratics", "d": d, "spread": spread, "mu": 1e-6}
            regimes.append(
                Regime(
                    f"n = {n}, λ = {spread:g}",
                    titled(f"n = {n}, λ = {spread:g}", settings.cluster),
                    given or cluster_of(n, d),
                    problem,
                    config,
                    entries_of(problem),
                    Limits(steps=settings.rounds, bits=settings.vectors * 32 * d),
                    row,
                )
            )
    return study_of("marina-quadratics", regimes, settings)
