"""The study `kimad-quadratic`: Kimad on quadratics under the bandwidth model of its paper.

f_i(x) = ½xᵀAx − b_iᵀx with the same diagonal A for all workers, in three layers whose curvatures
are about 1, 0.3 and 0.1: what one ratio for all layers wastes, Kimad+ can save. Links carry
η sin²(θt) + δ bits a second, each worker's a little later than that of the one before.
"""

import numpy as np

from dopt.errors import ConfigurationError
from dopt.problems import MatrixQuadratics
from experiments.clusters import fixed_links, longest, titled
from experiments.kimad import Layers, check_times, ladder, rows_and_limits, seconds_of
from experiments.multiples import check, study_of
from experiments.settings import KimadQuadratic
from experiments.study import Regime, Study
from simulators.rates import Sine
from simulators.varying import VaryingCluster


SCALES = (1.0, 0.3, 0.1)
"""Of the curvatures of the layers."""


def problem_of(d: int, n: int) -> MatrixQuadratics:
    """The quadratic of n workers in d dimensions, the same wherever it is made."""
    rng = np.random.default_rng([d, n])
    scale = np.repeat(SCALES, d // 3)
    a = scale * rng.uniform(0.3, 1.0, d)
    b = a * (1 + 0.3 * rng.standard_normal((n, d)))
    return MatrixQuadratics.from_matrices(np.broadcast_to(np.diag(a), (n, d, d)), b)


def links_of(mean: float, settings: KimadQuadratic) -> list[Sine]:
    """A sine for each worker, of the given mean; a gradient takes a second."""
    eta = mean / (0.5 + settings.low)
    theta = np.pi / settings.period
    phases = np.pi / 8 * np.arange(settings.workers)
    return [Sine(eta, float(theta), settings.low * eta, float(phase)) for phase in phases]


def regime_of(d: int, settings: KimadQuadratic) -> Regime:
    """One panel."""
    given = None if settings.cluster is None else fixed_links(settings.cluster)
    n = settings.workers if given is None else given.n
    problem = problem_of(d, n)
    if given is None:
        mean = settings.share * d * 8 * np.dtype(problem.dtype).itemsize  # bits/s, so that h is 1 s
        unit, links = seconds_of(mean, settings.share, problem), links_of(mean, settings)
        cluster = VaryingCluster([unit] * n, links, links)
    else:
        cluster, unit = given, longest(given, settings.share, problem)
    layers = Layers((d // 3,) * 3, ladder(settings.least, settings.rungs))
    return Regime(
        f"d = {d}",
        titled(f"d = {d}, n = {n}, h = {unit:g} s", settings.cluster),
        cluster,
        problem,
        {"name": "diagonal-quadratics", "d": d, "scales": list(SCALES)},
        *rows_and_limits(problem, cluster, layers, settings, unit=unit, batch=None),
    )


def build(settings: KimadQuadratic, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    check(settings, ("workers", "rounds", "rungs", "every"), ("dimensions",))
    for d in settings.dimensions:
        if d < 3 or d % 3:
            raise ConfigurationError(f"dimensions: {d} coordinates are no three equal layers")
    check_times(settings.times)
    for name in ("low", "period"):
        if not 0 < getattr(settings, name) < float("inf"):
            raise ConfigurationError(f"{name} = {getattr(settings, name)} must be positive")
    regimes = [regime_of(d, settings) for d in settings.dimensions]
    return study_of("kimad-quadratic", regimes, settings, axis="time")
