"""What can be set in the study `heterogeneity`, and its presets."""

from dataclasses import dataclass
from typing import Literal

from experiments.settings.preset import Preset


@dataclass(frozen=True)
class Heterogeneity:
    """Which method reaches the target first, in each communication regime."""

    problem: Literal["mnist", "quadratic"] = "mnist"
    """mnist: multinomial logistic regression, d = 7850. quadratic: the papers' tridiagonal one."""
    workers: int = 100
    """Number of workers n (ignored with --cluster)."""
    regimes: tuple[str, ...] = ("high", "medium", "low")
    """Cluster presets, one panel each; `dopt list clusters` names them all."""
    cluster: str | None = None
    """A CSV file with columns h and uplink (seconds per gradient, per coordinate or bit) instead,
    such as `dopt measure-cluster` writes."""
    target: float = 0.01
    """The target ε for the squared gradient norm."""
    samples: int | None = 5000
    """Images of MNIST to use; None for all there are."""
    batch: int = 4
    """Samples in one stochastic gradient (mnist)."""
    dimension: int = 1000
    """Dimension d of the quadratic."""
    noise: float = 0.01
    """Probability p of the quadratic's progressive noise: the smaller, the noisier."""
    noise_ratios: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Noise ratios S = σ²/ε that Shadowheart SGD, and Rennala SGD (batch S), are tuned over."""
    kept: tuple[float, ...] = (0.01, 0.1)
    """Shares K/d of coordinates that QSGD is tuned over; Shadowheart SGD always sends K = 1."""
    step_sizes: tuple[int, int] = (-9, 1)
    """Exponents of the grid of step sizes, one for all methods: 2^first, ..., 2^last."""
    rounds: int = 200
    """Virtual time of a regime, in rounds of Minibatch SGD there."""
    gradients: int = 40_000
    """No run computes more stochastic gradients than this."""
    tune_seeds: int = 2
    """Data seeds that choose variants and step sizes."""
    seeds: int = 5
    """Other data seeds, for the reported runs."""
    timeline_seed: int = 0
    """Seed of everything that decides time."""


PRESETS = {
    "smoke": Preset(
        "a minute: every path once, on few images",
        Heterogeneity(
            workers=10,
            samples=500,
            target=0.3,
            noise_ratios=(10.0,),
            kept=(0.01,),
            step_sizes=(-3, -1),
            rounds=30,
            gradients=4000,
            tune_seeds=1,
            seeds=2,
        ),
    ),
    "quick": Preset(
        "minutes: the study on 5,000 images, 100 workers, all regimes", Heterogeneity()
    ),
    "full": Preset(
        "hours: 60,000 images where the data folder has them, more seeds, finer tuning",
        Heterogeneity(
            samples=None,
            target=0.005,
            noise_ratios=(1.0, 3.0, 10.0, 30.0, 100.0, 300.0),
            kept=(0.001, 0.01, 0.1),
            step_sizes=(-14, 3),
            rounds=1000,
            gradients=400_000,
            tune_seeds=3,
            seeds=10,
        ),
    ),
}
