"""The study `kimad-cifar`: ResNet-18 with group normalization, and links that swing as a sine.

The images are JPEGs, so that accuracies are not those of the original files. The preset for a GPU
is the network of the paper; those for two cores have fewer channels and say so in their panel.
"""

import numpy as np

from dopt.data import load_cifar
from dopt.errors import ConfigurationError
from dopt.problems import Problem, resnet18
from experiments.clusters import equal_parts, fixed_links, longest, titled
from experiments.kimad import Layers, check_times, ladder, rows_and_limits, seconds_of
from experiments.links import MEGABIT
from experiments.multiples import check, study_of
from experiments.settings import KimadCifar
from experiments.study import Regime, Study
from simulators.rates import Sine
from simulators.varying import VaryingCluster


RECORDS = 4
"""Records in each doubling of the rounds: a record takes as long as many rounds."""


def sines_of(problem: Problem, settings: KimadCifar) -> tuple[VaryingCluster, float]:
    """Links that swing, each worker's a little later, and the seconds of a gradient."""
    eta, delta = MEGABIT * (settings.high - settings.low), MEGABIT * settings.low
    h = seconds_of(eta / 2 + delta, settings.share, problem)
    theta, n = float(np.pi / (settings.period * h)), settings.workers
    links = [Sine(eta, theta, delta, float(np.pi / 8 * worker)) for worker in range(n)]
    return VaryingCluster([h] * n, links, links), h


def build(settings: KimadCifar, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    check(settings, ("width", "workers", "held_out", "batch", "rounds", "rungs", "every"), ())
    check_times(settings.times)
    if not 0 < settings.low < settings.high < float("inf"):
        raise ConfigurationError(
            f"low = {settings.low}, high = {settings.high}: give 0 < low < high in Mbit/s"
        )
    given = None if settings.cluster is None else fixed_links(settings.cluster)
    n = settings.workers if given is None else given.n
    images = load_cifar(data, samples=settings.samples)
    if given is not None:
        images = equal_parts(images, n)
    held_out = load_cifar(data, samples=settings.held_out, test=True)
    problem = resnet18(images, width=settings.width, n=n, batch=settings.batch, held_out=held_out)
    if given is None:
        cluster, unit = sines_of(problem, settings)
    else:
        cluster, unit = given, longest(given, settings.share, problem)
    layers = Layers.of(problem.params, ladder(settings.least, settings.rungs))
    config = {"name": "cifar-resnet18", "d": problem.d, "source": images.source}
    config |= {"samples": len(images.labels), "batch": settings.batch, "width": settings.width}
    title = f"ResNet-18, {settings.width} channels, d = {problem.d:,}, h = {1e3 * unit:.3g} ms"
    regime = Regime(
        "sine" if given is None else "fixed links",
        titled(title, settings.cluster),
        cluster,
        problem,
        config,
        *rows_and_limits(problem, cluster, layers, settings, unit=unit, batch=1),
    )
    return study_of(
        "kimad-cifar", [regime], settings, axis="time", measure="value", records=RECORDS
    )
