"""What can be set in the study `kimad-cifar`, and its presets."""

from dataclasses import dataclass

from experiments.settings.preset import Preset


@dataclass(frozen=True)
class KimadCifar:
    """Compression that follows the bandwidth: ResNet-18 on CIFAR-10, links that swing as a sine."""

    width: int = 8
    """Channels of the first stage; ResNet-18 has 64."""
    workers: int = 4
    """Number of workers n."""
    cluster: str | None = None
    """A CSV file as `dopt measure-cluster` writes it, instead of workers, low, high and period:
    fixed links, where only a ratio for each worker or layer is left to gain. Times of a round then
    count in the slowest gradient, or message of `share` of a dense one."""
    samples: int | None = 2000
    """Images to train on; None for all 50,000."""
    held_out: int = 500
    """Test images on which the accuracy is measured."""
    batch: int = 16
    """Images in one stochastic gradient."""
    low: float = 30.0
    """Least bandwidth of a link in Mbit/s."""
    high: float = 330.0
    """Greatest bandwidth of a link in Mbit/s."""
    period: float = 60.0
    """Time between two lows, in that of a gradient."""
    share: float = 0.05
    """A gradient takes as long as a message of so large a share of a dense one, on average."""
    times: tuple[float, ...] = (3.0,)
    """Times of a round, in those of a gradient, that Kimad is tuned over."""
    least: float = 0.001
    """The least ratio K/d of the ladder."""
    rungs: int = 20
    """Ratios of the ladder."""
    every: int = 6
    """The best fixed ratio is looked for among every so many of them."""
    target: float = 1.9
    """The target for the loss, the mean cross-entropy of the training images."""
    factors: tuple[int, int] = (-4, -3)
    """Exponents of the grid of step sizes, one for all methods: 2^first, ..., 2^last."""
    rounds: int = 120
    """No run has more rounds than this, nor takes longer than as many rounds of four gradients."""
    tune_seeds: int = 1
    """Data seeds that choose step sizes and the best fixed ratio."""
    seeds: int = 1
    """Other data seeds, for the reported runs."""
    timeline_seed: int = 0
    """Not used here: no time is drawn."""


PRESETS = {
    "smoke": Preset(
        "minutes on two cores: every path once, a narrow network and few images",
        KimadCifar(
            workers=2,
            samples=64,
            held_out=32,
            batch=4,
            rungs=4,
            every=3,
            least=0.01,
            target=2.25,
            factors=(-4, -4),
            rounds=4,
        ),
    ),
    "quick": Preset("an hour on two cores: eight channels, 2,000 images", KimadCifar()),
    "full": Preset(
        "for a GPU: ResNet-18 with 64 channels on all images",
        KimadCifar(
            width=64,
            samples=None,
            held_out=5000,
            batch=128,
            times=(2.0, 3.0, 5.0),
            every=2,
            target=0.5,
            factors=(-5, -2),
            rounds=6000,
            seeds=3,
        ),
    ),
}
