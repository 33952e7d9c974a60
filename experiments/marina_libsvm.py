"""The study `marina-libsvm`: methods with compressed messages on LIBSVM sets.

How many bits does a worker send until ‖∇f(x)‖² ≤ ε, with gradient descent, MARINA, DIANA, DASHA and
EF21, on nonconvex losses of linear classifiers? After the experiments of MARINA (Gorbunov,
Burlachenko, Li, Richtárik, arXiv 2102.07845). Gradients are exact; the step size is theory's, from
certified bounds of the constants, times a tuned factor.
"""

import math
from pathlib import Path

from compressors import IndependentFamily, PermK, RandK, TopK
from dopt.errors import ConfigurationError
from dopt.methods import DASHA, DIANA, EF21, GradientDescent
from dopt.problems import Problem
from experiments.classification import problem_of, sets_of
from experiments.clusters import cluster_of_all, titled
from experiments.multiples import alone, check, cluster_of, marina, study_of, with_theory
from experiments.settings import MarinaLibsvm
from experiments.study import Entry, Limits, Regime, Study


USUAL = ("w8a", "a9a", "mushrooms", "phishing")


def entries_of(problem: Problem, n: int, kept: tuple[float, ...]) -> tuple[Entry, ...]:
    """The rows of the table; all but gradient descent and PermK choose how much they send."""
    Ks = sorted({max(1, math.ceil(share * problem.d)) for share in kept})
    return (
        alone(GradientDescent.name, with_theory("dense", GradientDescent(1.0), problem, n)),
        Entry(
            "MARINA, RandK",
            tuple(marina(f"K = {K}, ", IndependentFamily(RandK(K)), problem, n) for K in Ks),
        ),
        alone("MARINA, PermK", marina("", PermK(), problem, n)),
        Entry(
            "DIANA, RandK",
            tuple(with_theory(f"K = {K}", DIANA(1.0, RandK(K)), problem, n) for K in Ks),
        ),
        Entry(
            "DASHA, RandK",
            tuple(with_theory(f"K = {K}", DASHA(1.0, RandK(K)), problem, n) for K in Ks),
        ),
        Entry(
            "EF21, TopK",
            tuple(with_theory(f"K = {K}", EF21(1.0, TopK(K)), problem, n) for K in Ks),
        ),
    )


def build(settings: MarinaLibsvm, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    lists = ("kept",) if settings.datasets is None else ("kept", "datasets")
    check(settings, ("workers", "vectors", "rounds"), lists)
    for share in settings.kept:
        if not 0 < share <= 1:
            raise ConfigurationError(
                f"kept: {share} is no share of coordinates; give numbers in (0, 1]"
            )
    given, regimes = cluster_of_all(settings.cluster), []
    n = settings.workers if given is None else given.n
    for name in sets_of(settings.datasets, data, USUAL):
        problem, config = problem_of(
            name, data, n=n, split=settings.split, loss=settings.loss, batch=None
        )
        title = Path(name).name
        regimes.append(
            Regime(
                title,
                titled(f"{title}: d = {problem.d}, n = {n}", settings.cluster),
                given or cluster_of(n, problem.d),
                problem,
                config,
                entries_of(problem, n, settings.kept),
                Limits(steps=settings.rounds, bits=settings.vectors * 32 * problem.d),
            )
        )
    return study_of("marina-libsvm", regimes, settings)
