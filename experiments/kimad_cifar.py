"""The study `kimad-cifar`: ResNet-18 with group normalization, and links that swing as a sine.

The images are JPEGs, so that accuracies are not those of the original files. The preset for a GPU
is the network of the paper; those for two cores have fewer channels and say so in their panel.
"""

import numpy as np

from dopt.data import load_cifar
from dopt.errors import ConfigurationError
from dopt.problems import resnet18
from experiments.kimad import Layers, check_times, ladder, rows_and_limits, seconds_of
from experiments.links import MEGABIT
from experiments.multiples import check, study_of
from experiments.settings import KimadCifar
from experiments.study import Regime, Study
from simulators.rates import Sine
from simulators.varying import VaryingCluster


RECORDS = 4
"""Records in each doubling of the rounds: a record takes as long as many rounds."""


def build(settings: KimadCifar, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    check(settings, ("width", "workers", "held_out", "batch", "rounds", "rungs", "every"), ())
    check_times(settings.times)
    if not 0 < settings.low < settings.high < float("inf"):
        raise ConfigurationError(
            f"low = {settings.low}, high = {settings.high}: give 0 < low < high in Mbit/s"
        )
    n = settings.workers
    images = load_cifar(data, samples=settings.samples)
    held_out = load_cifar(data, samples=settings.held_out, test=True)
    problem = resnet18(images, width=settings.width, n=n, batch=settings.batch, held_out=held_out)
    eta, delta = MEGABIT * (settings.high - settings.low), MEGABIT * settings.low
    h = seconds_of(eta / 2 + delta, settings.share, problem)
    theta = float(np.pi / (settings.period * h))
    links = [Sine(eta, theta, delta, float(np.pi / 8 * worker)) for worker in range(n)]
    cluster = VaryingCluster([h] * n, links, links)
    layers = Layers.of(problem.params, ladder(settings.least, settings.rungs))
    config = {"name": "cifar-resnet18", "d": problem.d, "source": images.source}
    config |= {"samples": len(images.labels), "batch": settings.batch, "width": settings.width}
    regime = Regime(
        "sine",
        f"ResNet-18, {settings.width} channels, d = {problem.d:,}, h = {1e3 * h:.3g} ms",
        cluster,
        problem,
        config,
        *rows_and_limits(problem, cluster, layers, settings, h=h, batch=1),
    )
    return study_of(
        "kimad-cifar", [regime], settings, axis="time", measure="value", records=RECORDS
    )
