"""What can be set in the studies `kimad-mnist` and `kimad-traces`, and their presets."""

from dataclasses import dataclass, replace
from typing import Literal

from experiments.settings.preset import Preset


@dataclass(frozen=True)
class KimadMnist:
    """Compression that follows the bandwidth: a network on MNIST over recorded links."""

    network: Literal["convolutional", "perceptron"] = "perceptron"
    """The network: hidden layers, or two convolutions and a dense layer."""
    hidden: tuple[int, ...] = (32, 32)
    """Units of the hidden layers of the perceptron."""
    sets: tuple[str, ...] = ("3g", "4g", "broadband")
    """Sets of recorded links: short names, those of the data folder, or your own: a file with a
    time in seconds and Mbit/s a line, or a folder of such files."""
    traces: int | None = 1
    """Panels of each set, one for each of its first so many links; None for all of them."""
    workers: int = 4
    """Number of workers n; worker i of a panel has the i-th link from the panel's on."""
    cluster: str | None = None
    """A CSV file as `dopt measure-cluster` writes it, instead of workers, sets and traces: one
    panel of fixed links, where only a ratio for each worker or layer is left to gain. Times of a
    round then count in the slowest gradient, or message of `share` of a dense one."""
    samples: int | None = 5000
    """Images of MNIST to use, one in ten held out for the accuracy; None for all there are."""
    batch: int = 32
    """Images in one stochastic gradient."""
    share: float = 0.1
    """A gradient takes as long as a message of so large a share of a dense one, on average."""
    times: tuple[float, ...] = (2.0, 4.0, 8.0)
    """Times of a round, in those of a gradient, that Kimad is tuned over."""
    least: float = 0.001
    """The least ratio K/d of the ladder."""
    rungs: int = 24
    """Ratios of the ladder."""
    every: int = 4
    """The best fixed ratio is looked for among every so many of them."""
    target: float = 0.3
    """The target for the loss, the mean cross-entropy of the images."""
    factors: tuple[int, int] = (-3, 1)
    """Exponents of the grid of step sizes, one for all methods: 2^first, ..., 2^last."""
    rounds: int = 400
    """No run has more rounds than this, nor takes longer than as many rounds of four gradients."""
    tune_seeds: int = 1
    """Data seeds that choose step sizes and the best fixed ratio."""
    seeds: int = 3
    """Other data seeds, for the reported runs."""
    timeline_seed: int = 0
    """Not used here: no time is drawn."""


@dataclass(frozen=True)
class KimadTraces(KimadMnist):
    """Compression that follows the bandwidth: where is it ahead, of all links of a set?"""

    sets: tuple[str, ...] = ("3g",)
    traces: int | None = None
    times: tuple[float, ...] = (4.0,)
    factors: tuple[int, int] = (-1, -1)
    seeds: int = 1


PRESETS = {
    "smoke": Preset(
        "a minute: every path once, on few images",
        KimadMnist(
            hidden=(4,),
            sets=("3g",),
            workers=2,
            samples=100,
            batch=4,
            rungs=4,
            every=2,
            least=0.01,
            times=(3.0,),
            target=2.0,
            factors=(-3, -2),
            rounds=12,
            seeds=2,
        ),
    ),
    "quick": Preset("minutes: 5,000 images, four workers, three sets of links", KimadMnist()),
    "full": Preset(
        "hours: all images where the data folder has them, finer tuning, all fixed ratios",
        KimadMnist(
            network="convolutional",
            samples=None,
            every=1,
            target=0.1,
            factors=(-5, 2),
            rounds=5000,
            tune_seeds=2,
            seeds=5,
        ),
    ),
}

TRACES_PRESETS = {
    "smoke": Preset(
        "a minute: two links, few images",
        KimadTraces(
            **vars(replace(PRESETS["smoke"].settings, traces=2, factors=(-2, -2), seeds=1))
        ),
    ),
    "quick": Preset("half an hour: all links of the 3G set", KimadTraces()),
    "full": Preset(
        "hours: all links of the 3G, 4G and broadband sets, three seeds",
        KimadTraces(sets=("3g", "4g", "broadband"), every=1, seeds=3),
    ),
}
