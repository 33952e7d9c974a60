"""The study `mnist-network`: training small networks with messages compressed layer by layer.

How many bits does a worker send until the loss is at the target, and how accurate is the network by
then? Gradients are stochastic; each layer's weights and biases are compressed on their own. Nothing
is known of the constants, so step sizes come from one absolute grid.
"""

import math

import jax

from compressors import Compressor, ContractivePerLeaf, PerLeaf, RandomDithering, TopK
from dopt.data import Digits, load_mnist
from dopt.errors import ConfigurationError
from dopt.methods import EF14, EF21SGDM, QSGD, Factors, LocalSGD, MinibatchSGD, PowerSGD
from dopt.problems import FromLoss
from dopt.problems.networks import convolutional_network, perceptron
from experiments.clusters import cluster_of_all, equal_parts, titled
from experiments.multiples import alone, check, cluster_of, study_of
from experiments.settings import MnistNetwork
from experiments.study import Entry, Limits, Regime, Study, Variant


LEVELS = 4
"""Of random dithering."""
RECORDS = 8
"""Records in each doubling of the rounds: a record takes as long as many rounds."""


def network_of(name: str, digits: Digits, n: int, settings: MnistNetwork) -> FromLoss:
    """A network by name, its data in n equal parts."""
    batch = settings.batch
    if name == "perceptron":
        return perceptron(digits, hidden=(settings.hidden,), n=n, batch=batch)
    return convolutional_network(digits, n=n, batch=batch)


def entries_of(problem: FromLoss, settings: MnistNetwork) -> tuple[Entry, ...]:
    """The rows of the table, all with one stochastic gradient a worker and round."""

    def top(leaf: jax.Array) -> Compressor:
        return TopK(max(1, math.ceil(settings.kept * leaf.size)))

    layers = ContractivePerLeaf.like(problem.params, top)
    dithered = PerLeaf.like(problem.params, lambda leaf: RandomDithering(LEVELS))
    kept, eta = f"{settings.kept:.0%} of a layer", settings.momentum
    return (
        alone("Minibatch SGD", Variant("dense", MinibatchSGD(1.0))),
        alone("QSGD, dithering", Variant(f"s = {LEVELS}", QSGD(1.0, dithered))),
        alone("EF14, TopK", Variant(kept, EF14(1.0, layers, 1))),
        alone("EF21-SGDM, TopK", Variant(f"{kept}, η = {eta:g}", EF21SGDM(1.0, layers, eta, 1))),
        alone(
            "PowerSGD",
            Variant(
                f"r = {settings.rank}",
                PowerSGD(1.0, Factors.like(problem.params, settings.rank), 1),
            ),
        ),
        Entry(
            "Local SGD",
            tuple(Variant(f"H = {H}", LocalSGD(1.0, H)) for H in settings.local_steps),
        ),
    )


def build(settings: MnistNetwork, data: str | None) -> Study:
    """The study, ready to run; everything that can be refused is refused here."""
    counts = ("hidden", "workers", "batch", "rank", "vectors", "rounds")
    check(settings, counts, ("networks", "local_steps"))
    for name in settings.networks:
        if name not in ("perceptron", "convolutional"):
            raise ConfigurationError(f"networks: {name!r} is neither perceptron nor convolutional")
    if not 0 < settings.kept <= 1:
        raise ConfigurationError(f"kept = {settings.kept} is no share: give a number in (0, 1]")
    if not 0 < settings.momentum <= 1:
        raise ConfigurationError(f"momentum = {settings.momentum}: give a weight in (0, 1]")
    given = cluster_of_all(settings.cluster)
    n = settings.workers if given is None else given.n
    digits = load_mnist(data, samples=settings.samples)
    if given is not None:
        digits = equal_parts(digits, n)
    regimes = []
    for name in settings.networks:
        problem = network_of(name, digits, n, settings)
        d = problem.d
        config = {"name": f"mnist-{name}", "d": d, "source": digits.source}
        config |= {"samples": len(digits.labels), "batch": settings.batch}
        regimes.append(
            Regime(
                name,
                titled(f"{name}, d = {d}, n = {n}", settings.cluster),
                given or cluster_of(n, d),
                problem,
                config,
                entries_of(problem, settings),
                Limits(steps=settings.rounds, bits=settings.vectors * 32 * d),
            )
        )
    return study_of("mnist-network", regimes, settings, measure="value", records=RECORDS)
