"""What studies that tune a multiple of theory's step size have in common."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from compressors import Joint
from dopt.errors import ConfigurationError
from dopt.methods import MARINA, Method
from dopt.problems import Problem
from dopt.theory import least_communication, relative_noise
from experiments.study import REPORT_SEEDS_FROM, Entry, Regime, Study, Variant
from simulators.cluster import Cluster
from simulators.presets import equal


SENDING = 10.0
"""Gradients that a worker computes in the time that a dense message takes."""


LEAST_P = 0.01
"""Least p of MARINA, in units of c, the size of a message over that of a dense one: where theory
wants p → 0, this costs 1 % more bits than the limit."""


def cluster_of(n: int, d: int) -> Cluster:
    """Equal workers: a second a gradient, and `SENDING` seconds a dense message."""
    return equal(n, 1.0, SENDING / d)


def with_theory(name: str, method: Method, problem: Problem, n: int) -> Variant:
    """The variant with the step size that its theorem gives on the problem.

    It is rounded to six digits, so that runs have the same name wherever eigenvalues are computed.
    """
    gamma = method.theory_step_size(problem.constants, problem.d, n)
    return Variant(name, method, float(f"{gamma:.6g}"))


def marina(name: str, family: Joint, problem: Problem, n: int) -> Variant:
    """MARINA at the p that sends the fewest bits in theory; it is part of the variant's name."""
    d, dtype, need = problem.d, problem.dtype, problem.constants.need
    L, L_plus, L_pm = (need(constant, MARINA.name) for constant in ("L", "L_plus", "L_pm"))
    A, B = (family.ab_equal_inputs if L_pm == 0 else family.ab)(d, n)
    c = family.nbits(d, n, dtype) / (8 * d * np.dtype(dtype).itemsize)
    best = least_communication(c, relative_noise(L, L_plus, L_pm, A.value, B.value)).p
    p = float(f"{max(best, LEAST_P * min(c, 1.0)):.4g}")
    return with_theory(f"{name}p = {p:.2g}", MARINA(1.0, family, p), problem, n)


def alone(label: str, variant: Variant) -> Entry:
    """An entry without a choice but that of the step size."""
    return Entry(label, (variant,))


def check(settings: Any, counts: Sequence[str], lists: Sequence[str]) -> None:
    """Refuses settings that no problem can make good, before anything is loaded.

    Args:
        settings: those of a study, with target, factors, seeds and tune_seeds.
        counts: its settings that are whole numbers of at least 1, besides the seeds.
        lists: its settings that name things, each of them once.
    """
    for name in (*counts, "tune_seeds", "seeds"):
        if getattr(settings, name) < 1:
            raise ConfigurationError(f"{name} = {getattr(settings, name)} must be at least 1")
    if settings.tune_seeds > REPORT_SEEDS_FROM:
        raise ConfigurationError(
            f"tune_seeds = {settings.tune_seeds} must be at most {REPORT_SEEDS_FROM}: seeds from "
            "there on report, and no seed does both"
        )
    if settings.timeline_seed < 0:
        raise ConfigurationError(f"timeline_seed = {settings.timeline_seed} must be at least 0")
    first, last = settings.factors
    if not -60 <= first <= last <= 60:
        raise ConfigurationError(
            f"factors = {settings.factors}: give exponents -60 ≤ first ≤ last ≤ 60"
        )
    if not 0 < settings.target < math.inf:
        raise ConfigurationError(f"target = {settings.target} must be positive")
    for name in lists:
        values = getattr(settings, name)
        if not values:
            raise ConfigurationError(f"{name} is empty; give at least one")
        if len(set(values)) < len(values):
            raise ConfigurationError(f"{name} = {values}: give each of them once")


def study_of(name: str, regimes: Iterable[Regime], settings: Any, **more: Any) -> Study:
    """The study of these regimes, with the grid and the seeds of its settings.

    Raises:
        ConfigurationError: the target is met before the first step.
    """
    first, last = settings.factors
    study = Study(
        name=name,
        regimes=tuple(regimes),
        factors=tuple(2.0**k for k in range(first, last + 1)),
        tune_seeds=tuple(range(settings.tune_seeds)),
        report_seeds=tuple(range(REPORT_SEEDS_FROM, REPORT_SEEDS_FROM + settings.seeds)),
        target=settings.target,
        timeline_seed=settings.timeline_seed,
        **{"axis": "bits"} | more,
    )
    for regime in study.regimes:
        at_start = _measured(regime.problem, study.measure)
        if at_start <= study.target:
            raise ConfigurationError(
                f"target = {study.target:g} is already met at x⁰ in {regime.name}, where the "
                f"measure is {at_start:.4g}; give a smaller one"
            )
    return study


def _measured(problem: Problem, measure: str) -> float:
    """The measure at the start."""
    value, gradient = problem.value_and_grad(problem.start())
    return float(value if measure == "value" else jnp.sum(gradient**2))
