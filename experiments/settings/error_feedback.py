"""What can be set in the study `error-feedback`, and its presets."""

from dataclasses import dataclass
from typing import Literal

from experiments.settings.preset import Preset


@dataclass(frozen=True)
class ErrorFeedback:
    """Which form of error feedback stands noise: EF14, EF21, EF21-SGDM, with TopK."""

    dataset: str | None = None
    """A LIBSVM set: a name of the data folder, or a file. By default a9a where there is a data
    folder, else breast_cancer, which scikit-learn carries."""
    batches: tuple[int, ...] = (1, 16, 0)
    """Samples in one stochastic gradient, a panel each; 0 for exact gradients."""
    workers: int = 20
    """Number of workers n (ignored with --cluster)."""
    cluster: str | None = None
    """A CSV file as `dopt measure-cluster` writes it: seconds are then those of this cluster. Bits
    depend on its number of workers alone."""
    split: Literal["even", "label", "dirichlet"] = "label"
    """How samples go to workers: shuffled, sorted by label, or by drawn shares of each label."""
    kept: float = 0.05
    """Share K/d of coordinates that TopK keeps."""
    momenta: tuple[float, ...] = (0.3, 0.1, 0.03)
    """Weights η of the newest gradient that EF21-SGDM is tuned over."""
    target: float = 1e-3
    """The target ε for the squared gradient norm."""
    factors: tuple[int, int] = (-6, 7)
    """Exponents of the grid of factors of theory's step size: 2^first, ..., 2^last."""
    vectors: int = 500
    """No worker sends more bits than so many dense vectors have."""
    rounds: int = 2000
    """No run has more rounds than this."""
    tune_seeds: int = 2
    """Data seeds that choose variants and factors."""
    seeds: int = 5
    """Other data seeds, for the reported runs."""
    timeline_seed: int = 0
    """Not used here: no time is drawn."""


PRESETS = {
    "smoke": Preset(
        "seconds: every path once, on the set that scikit-learn carries",
        ErrorFeedback(
            dataset="breast_cancer",
            batches=(1, 0),
            workers=4,
            kept=0.2,
            momenta=(0.3,),
            target=0.05,
            factors=(-1, 0),
            vectors=100,
            rounds=40,
            tune_seeds=1,
            seeds=2,
        ),
    ),
    "quick": Preset("minutes: a9a, 20 workers, three sizes of the noise", ErrorFeedback()),
    "full": Preset(
        "an hour: more rounds, finer tuning, more seeds",
        ErrorFeedback(
            target=1e-4,
            momenta=(0.5, 0.3, 0.1, 0.03, 0.01),
            factors=(-10, 9),
            vectors=5000,
            rounds=50_000,
            seeds=10,
        ),
    ),
}
