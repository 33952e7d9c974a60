"""The study `heterogeneity`: three communication regimes, six methods, one question.

Which method reaches ‖∇f(x)‖² ≤ ε first in virtual time, as sending gets dearer? After Figure 1 of
"Shadowheart SGD" (arXiv 2402.04785): h_i = √i seconds a gradient and τ̇_i = √i/d^β seconds a
coordinate with β = 1, 3/4, 1/2, on MNIST.
"""

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from compressors import RandK
from dopt.data import load_mnist
from dopt.errors import ConfigurationError
from dopt.methods import (
    QSGD,
    AsynchronousSGD,
    MinibatchSGD,
    RennalaSGD,
    SGDOne,
    ShadowheartSGD,
)
from dopt.problems import MultinomialLogistic, Problem, ProgressiveNoise, TridiagonalQuadratic
from dopt.theory import noise_batch
from experiments.clusters import cluster_of_file
from experiments.settings import Heterogeneity
from experiments.study import REPORT_SEEDS_FROM, Entry, Limits, Regime, Study, Variant
from simulators.cluster import Cluster
from simulators.presets import PRESETS, by_name


FROM_THEORY = "Shadowheart SGD (S = σ²/ε)"


def problem_of(settings: Heterogeneity, data: str | None) -> tuple[Problem, dict[str, Any]]:
    """The problem and its description."""
    if settings.problem == "mnist":
        digits = load_mnist(data, samples=settings.samples)
        problem = MultinomialLogistic.from_digits(digits, batch=settings.batch)
        config = {"source": digits.source, "samples": len(digits.labels), "batch": settings.batch}
        return problem, {"name": "mnist-logistic", "d": problem.d, **config}
    quadratic = TridiagonalQuadratic(
        settings.dimension, mu=1e-6, noise=ProgressiveNoise(settings.noise), dtype=jnp.float32
    )
    config = {"d": settings.dimension, "mu": 1e-6, "noise": f"progressive, p = {settings.noise:g}"}
    return quadratic, {"name": "tridiagonal-quadratic", **config}


def clusters_of(settings: Heterogeneity, d: int) -> list[tuple[str, str, Cluster]]:
    """Name, title and cluster of each regime."""
    if settings.cluster is not None:
        cluster = cluster_of_file(settings.cluster)
        name = Path(settings.cluster).name
        return [(name, f"{name}, n = {cluster.n}", cluster)]
    found = {name: by_name(name, settings.workers, d) for name in settings.regimes}
    return [(name, PRESETS[name].description, cluster) for name, cluster in found.items()]


def _seconds(cluster: Cluster, d: int, settings: Heterogeneity) -> float:
    """`rounds` rounds of Minibatch SGD, workers that never answer left out."""
    costs = cluster.costs(d=d, dtype=jnp.float32, message_bits=32)
    rounds = costs.h + costs.tau_dense + costs.tau_down
    return settings.rounds * float(rounds[np.isfinite(rounds)].max())


def entries_of(settings: Heterogeneity, problem: Problem) -> tuple[Entry, ...]:
    """The rows of the table; the last one, untuned in S, needs a problem that knows its σ²."""
    d, one = problem.d, RandK(1)
    kept = sorted({max(1, math.ceil(share * d)) for share in settings.kept})
    batches = sorted({noise_batch(S) for S in settings.noise_ratios})
    ratios = [Variant(f"S = {S:g}", ShadowheartSGD(1.0, one, S)) for S in settings.noise_ratios]
    entries = [
        Entry("Minibatch SGD", (Variant("dense", MinibatchSGD(1.0)),)),
        Entry("QSGD", tuple(Variant(f"K = {K}", QSGD(1.0, RandK(K))) for K in kept)),
        Entry("Asynchronous SGD", (Variant("delay-adaptive", AsynchronousSGD(1.0)),)),
        Entry("Rennala SGD", tuple(Variant(f"B = {B}", RennalaSGD(1.0, B)) for B in batches)),
        Entry("SGD One", (Variant("alone", SGDOne(1.0)),)),
        Entry("Shadowheart SGD", tuple(ratios)),
    ]
    sigma2 = problem.constants.sigma2
    if sigma2 is not None:
        S = float(sigma2.value) / settings.target
        untuned = Variant(f"S = {S:.3g}", ShadowheartSGD(1.0, one, S))
        entries.append(Entry(FROM_THEORY, (untuned,)))
    return tuple(entries)


def check(settings: Heterogeneity) -> None:
    """Refuses settings that no problem and no cluster can make good, before anything is loaded."""
    for name in ("workers", "rounds", "gradients", "tune_seeds", "seeds", "batch"):
        if getattr(settings, name) < 1:
            raise ConfigurationError(f"{name} = {getattr(settings, name)} must be at least 1")
    if settings.tune_seeds > REPORT_SEEDS_FROM:
        raise ConfigurationError(
            f"tune_seeds = {settings.tune_seeds} must be at most {REPORT_SEEDS_FROM}: seeds from "
            "there on report, and no seed does both"
        )
    if settings.timeline_seed < 0:
        raise ConfigurationError(f"timeline_seed = {settings.timeline_seed} must be at least 0")
    first, last = settings.step_sizes
    if not -126 <= first <= last <= 127:
        raise ConfigurationError(
            f"step_sizes = {settings.step_sizes}: give exponents -126 ≤ first ≤ last ≤ 127"
        )
    if not settings.target > 0:
        raise ConfigurationError(f"target = {settings.target} must be positive")
    for name in ("regimes", "noise_ratios", "kept"):
        values = getattr(settings, name)
        if not values:
            raise ConfigurationError(f"{name} is empty; give at least one")
        if len(set(values)) < len(values):
            raise ConfigurationError(f"{name} = {values}: give each of them once")
    for ratio in settings.noise_ratios:
        if not 0 <= ratio < math.inf:
            raise ConfigurationError(f"noise_ratios: {ratio} must be finite and at least 0")
    for share in settings.kept:
        if not 0 < share <= 1:
            raise ConfigurationError(
                f"kept: {share} is no share of coordinates; give numbers in (0, 1]"
            )


def build(settings: Heterogeneity, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    check(settings)
    first, last = settings.step_sizes
    problem, problem_config = problem_of(settings, data)
    norm2 = float(jnp.sum(problem.grad(problem.start()) ** 2))
    if norm2 <= settings.target:
        raise ConfigurationError(
            f"target = {settings.target:g} is already met at x⁰, where ‖∇f‖² = {norm2:.4g}; "
            "give a smaller one"
        )
    shared = (problem, problem_config, entries_of(settings, problem))
    return Study(
        name="heterogeneity",
        regimes=tuple(
            Regime(
                *(name, title, cluster),
                *shared,
                Limits(_seconds(cluster, problem.d, settings), gradients=settings.gradients),
            )
            for name, title, cluster in clusters_of(settings, problem.d)
        ),
        factors=tuple(2.0**k for k in range(first, last + 1)),
        tune_seeds=tuple(range(settings.tune_seeds)),
        report_seeds=tuple(range(REPORT_SEEDS_FROM, REPORT_SEEDS_FROM + settings.seeds)),
        target=settings.target,
        timeline_seed=settings.timeline_seed,
    )
