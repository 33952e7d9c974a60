"""The studies `kimad-mnist` and `kimad-traces`: a network on MNIST over recorded links.

In `kimad-mnist` a panel a set of links shows everything; `kimad-traces` goes through all links of a
set and counts where Kimad is ahead. Worker i of panel j has link j + i of the set up and down. Each
array of the network is a layer. The step size is one for all methods, or tuned for each, as the
settings say.
"""

from collections.abc import Callable
from functools import partial

from dopt.data import Images, load_mnist
from dopt.errors import ConfigurationError
from dopt.problems import FromLoss
from dopt.problems.networks import convolutional_network, perceptron
from experiments.kimad import Layers, check_times, ladder, rows_and_limits, seconds_of
from experiments.links import Links, first_of, links_of
from experiments.multiples import check, study_of
from experiments.settings import KimadMnist, KimadTraces
from experiments.study import Regime, Study
from simulators.varying import VaryingCluster


RECORDS = 16
"""Records in each doubling of the rounds: a record takes as long as many rounds."""
HELD_OUT = 10
"""One image in so many is held out."""


def problem_of(settings: KimadMnist, data: str | None) -> tuple[FromLoss, str]:
    """The network, its images in equal parts and some held out; and where they come from."""
    images = load_mnist(data, samples=settings.samples)
    count = len(images.labels)
    train = (count - count // HELD_OUT) // settings.workers * settings.workers
    if train < settings.workers:
        raise ConfigurationError(
            f"samples = {count} are too few for {settings.workers} workers; give more"
        )
    perceptrons = partial(perceptron, hidden=settings.hidden)
    network: Callable[..., FromLoss] = (
        perceptrons if settings.network == "perceptron" else convolutional_network
    )
    problem = network(
        _part(images, 0, train),
        n=settings.workers,
        batch=settings.batch,
        held_out=_part(images, train, count),
    )
    return problem, images.source


def _part(images: Images, first: int, last: int) -> Images:
    return Images(images.images[first:last], images.labels[first:last], images.source)


def regime_of(
    settings: KimadMnist, problem: FromLoss, source: str, name: str, links: Links, first: int
) -> Regime:
    """One panel: the workers' links from `first` on."""
    n, h = settings.workers, seconds_of(links.mean, settings.share, problem)
    rates = links.of_workers(first, n)
    cluster = VaryingCluster([h] * n, rates, rates)
    layers = Layers.of(problem.params, ladder(settings.least, settings.rungs))
    config = {"name": f"mnist-{settings.network}", "d": problem.d, "source": source}
    config |= {"hidden": list(settings.hidden)} if settings.network == "perceptron" else {}
    config |= {"batch": settings.batch, "samples": settings.samples}
    config |= {"links": links.source, "first_link": links.names[first]}
    return Regime(
        f"{name}, {first}",
        f"{name}, link {first} on, h = {1e3 * h:.3g} ms",
        cluster,
        problem,
        config,
        *rows_and_limits(problem, cluster, layers, settings, h=h, batch=1),
    )


def build(settings: KimadMnist, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    check(settings, ("workers", "batch", "rounds", "rungs", "every"), ("sets",))
    check_times(settings.times)
    problem, source = problem_of(settings, data)
    regimes = []
    for name in settings.sets:
        links = links_of(name, data)
        for first in first_of(links, settings.traces, name):
            regimes.append(regime_of(settings, problem, source, name, links, first))
    study = "kimad-traces" if isinstance(settings, KimadTraces) else "kimad-mnist"
    return study_of(study, regimes, settings, axis="time", measure="value", records=RECORDS)
