"""The studies `kimad-mnist` and `kimad-traces`: a network on MNIST over recorded links.

In `kimad-mnist` a panel a set of links shows everything; `kimad-traces` goes through all links of a
set and counts where Kimad is ahead. Worker i of panel j has link j + i of the set up and down. Each
array of the network is a layer. The step size is one for all methods, or tuned for each, as the
settings say.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dopt.data import Images, load_mnist
from dopt.errors import ConfigurationError
from dopt.problems import FromLoss
from dopt.problems.networks import convolutional_network, perceptron
from experiments.clusters import fixed_links, longest
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


def problem_of(settings: KimadMnist, n: int, data: str | None) -> tuple[FromLoss, str]:
    """The network, its images in n equal parts and some held out; and where they come from."""
    images = load_mnist(data, samples=settings.samples)
    count = len(images.labels)
    train = (count - count // HELD_OUT) // n * n
    if train < n:
        raise ConfigurationError(f"samples = {count} are too few for {n} workers; give more")
    perceptrons = partial(perceptron, hidden=settings.hidden)
    network: Callable[..., FromLoss] = (
        perceptrons if settings.network == "perceptron" else convolutional_network
    )
    problem = network(
        _part(images, 0, train),
        n=n,
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
    of_links = {"links": links.source, "first_link": links.names[first]}
    title = f"{name}, link {first} on, h = {1e3 * h:.3g} ms"
    return _regime(settings, problem, source, cluster, h, f"{name}, {first}", title, of_links)


def regime_of_file(
    settings: KimadMnist, problem: FromLoss, source: str, cluster: VaryingCluster, file: str
) -> Regime:
    """The only panel of a cluster from a file, whose links are fixed."""
    unit, name = longest(cluster, settings.share, problem), f"{Path(file).name}, fixed links"
    title = f"{name}, h = {1e3 * unit:.3g} ms"
    return _regime(settings, problem, source, cluster, unit, name, title, {"links": "fixed"})


def _regime(
    settings: KimadMnist,
    problem: FromLoss,
    source: str,
    cluster: VaryingCluster,
    unit: float,
    name: str,
    title: str,
    of_links: dict[str, str],
) -> Regime:
    layers = Layers.of(problem.params, ladder(settings.least, settings.rungs))
    config = {"name": f"mnist-{settings.network}", "d": problem.d, "source": source}
    config |= {"hidden": list(settings.hidden)} if settings.network == "perceptron" else {}
    config |= {"batch": settings.batch, "samples": settings.samples, **of_links}
    rows, limits = rows_and_limits(problem, cluster, layers, settings, unit=unit, batch=1)
    return Regime(name, title, cluster, problem, config, rows, limits)


def build(settings: KimadMnist, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    check(settings, ("workers", "batch", "rounds", "rungs", "every"), ("sets",))
    check_times(settings.times)
    file = settings.cluster
    given = None if file is None else fixed_links(file)
    problem, source = problem_of(settings, settings.workers if given is None else given.n, data)
    regimes = []
    if file is not None and given is not None:
        regimes.append(regime_of_file(settings, problem, source, given, file))
    for name in settings.sets if given is None else ():
        links = links_of(name, data)
        for first in first_of(links, settings.traces, name):
            regimes.append(regime_of(settings, problem, source, name, links, first))
    study = "kimad-traces" if isinstance(settings, KimadTraces) else "kimad-mnist"
    return study_of(study, regimes, settings, axis="time", measure="value", records=RECORDS)
