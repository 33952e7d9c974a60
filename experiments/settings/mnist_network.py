"""What can be set in the study `mnist-network`, and its presets."""

from dataclasses import dataclass

from experiments.settings.preset import Preset


@dataclass(frozen=True)
class MnistNetwork:
    """Which method trains a small network on MNIST with the fewest bits, layer by layer."""

    networks: tuple[str, ...] = ("perceptron", "convolutional")
    """Networks, a panel each: perceptron, of one hidden layer, or convolutional."""
    hidden: int = 64
    """Units of the hidden layer of the perceptron."""
    workers: int = 10
    """Number of workers n, each with an equal part of the images (ignored with --cluster)."""
    cluster: str | None = None
    """A CSV file as `dopt measure-cluster` writes it: seconds are then those of this cluster. Bits
    depend on its number of workers alone."""
    samples: int | None = 5000
    """Images of MNIST to use; None for all there are."""
    batch: int = 32
    """Images in one stochastic gradient."""
    kept: float = 0.01
    """Share of the weights of a layer that TopK keeps."""
    rank: int = 2
    """Rank of PowerSGD's factors."""
    momentum: float = 0.3
    """Weight η of the newest gradient in EF21-SGDM."""
    local_steps: tuple[int, ...] = (4, 16)
    """Local steps between two messages that local SGD is tuned over."""
    target: float = 0.3
    """The target for the loss, the mean cross-entropy of the images."""
    factors: tuple[int, int] = (-3, 3)
    """Exponents of the grid of step sizes, since no constants are known: 2^first, ..., 2^last."""
    vectors: int = 100
    """No worker sends more bits than so many dense vectors have."""
    rounds: int = 300
    """No run has more rounds than this."""
    tune_seeds: int = 1
    """Data seeds that choose variants and step sizes."""
    seeds: int = 3
    """Other data seeds, for the reported runs."""
    timeline_seed: int = 0
    """Not used here: no time is drawn."""


PRESETS = {
    "smoke": Preset(
        "a minute: every path once, on few images",
        MnistNetwork(
            hidden=4,
            workers=2,
            samples=100,
            batch=4,
            target=2.0,
            factors=(-2, -1),
            local_steps=(2,),
            vectors=8,
            rounds=12,
            seeds=2,
        ),
    ),
    "quick": Preset("minutes: 5,000 images, 10 workers, two networks", MnistNetwork()),
    "full": Preset(
        "hours: all images where the data folder has them, longer runs, more seeds",
        MnistNetwork(
            hidden=128,
            samples=None,
            batch=128,
            target=0.05,
            factors=(-7, 3),
            local_steps=(4, 16, 64),
            vectors=1000,
            rounds=10_000,
            tune_seeds=2,
            seeds=5,
        ),
    ),
}
