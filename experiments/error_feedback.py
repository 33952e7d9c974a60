"""The study `error-feedback`: EF14, EF21 and EF21-SGDM with TopK, as gradients get noisier.

How many bits does a worker send until ‖∇f(x)‖² ≤ ε on a nonconvex loss whose workers differ? After
the question of "Momentum provably improves error feedback!" (Fatkhullin, Tyurin, Richtárik, arXiv
2305.15155): EF21 of stochastic gradients keeps their noise, which momentum averages out. Step sizes
are those of theory for exact gradients, times a tuned factor; so that of uncompressed SGD is 1/L.
"""

import math

from compressors import TopK
from dopt.errors import ConfigurationError
from dopt.methods import EF14, EF21, EF21SGDM, GradientDescent, MinibatchSGD
from dopt.problems import LogisticRegression
from experiments.classification import problem_of, sets_of
from experiments.clusters import cluster_of_all, titled
from experiments.multiples import alone, check, cluster_of, study_of, with_theory
from experiments.settings import ErrorFeedback
from experiments.study import Entry, Limits, Regime, Study


USUAL = ("a9a",)


def entries_of(problem: LogisticRegression, n: int, settings: ErrorFeedback) -> tuple[Entry, ...]:
    """The rows of the table, all with one stochastic gradient a worker and round."""
    top = TopK(max(1, math.ceil(settings.kept * problem.d)))
    exact = with_theory("dense", GradientDescent(1.0), problem, n)
    dense = exact if problem.batch is None else exact._replace(method=MinibatchSGD(1.0))
    batch = None if problem.batch is None else 1
    name = f"K = {top.K}"
    momentum = tuple(
        with_theory(f"{name}, η = {eta:g}", EF21SGDM(1.0, top, eta, batch), problem, n)
        for eta in settings.momenta
    )
    return (
        alone(MinibatchSGD.name, dense),
        alone("EF14, TopK", with_theory(name, EF14(1.0, top, batch), problem, n)),
        alone("EF21, TopK", with_theory(name, EF21(1.0, top, batch), problem, n)),
        Entry("EF21-SGDM, TopK", momentum),
    )


def build(settings: ErrorFeedback, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    check(settings, ("workers", "vectors", "rounds"), ("batches", "momenta"))
    if not 0 < settings.kept <= 1:
        raise ConfigurationError(f"kept = {settings.kept} is no share: give a number in (0, 1]")
    for eta in settings.momenta:
        if not 0 < eta <= 1:
            raise ConfigurationError(f"momenta: {eta} is no weight; give numbers in (0, 1]")
    if min(settings.batches) < 0:
        raise ConfigurationError(f"batches: {min(settings.batches)} must be at least 0")
    given = None if settings.dataset is None else (settings.dataset,)
    (name,) = sets_of(given, data, USUAL)
    cluster, regimes = cluster_of_all(settings.cluster), []
    n = settings.workers if cluster is None else cluster.n
    for samples in settings.batches:
        problem, config = problem_of(
            name, data, n=n, split=settings.split, loss="logistic", batch=samples or None
        )
        counted = "1 sample" if samples == 1 else f"{samples} samples" if samples else "all samples"
        regimes.append(
            Regime(
                counted,
                titled(f"{counted} a gradient", settings.cluster),
                cluster or cluster_of(n, problem.d),
                problem,
                config,
                entries_of(problem, n, settings),
                Limits(steps=settings.rounds, bits=settings.vectors * 32 * problem.d),
            )
        )
    return study_of("error-feedback", regimes, settings)
