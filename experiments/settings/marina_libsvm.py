"""What can be set in the study `marina-libsvm`, and its presets."""

from dataclasses import dataclass
from typing import Literal

from experiments.settings.preset import Preset


@dataclass(frozen=True)
class MarinaLibsvm:
    """Which method sends the fewest bits on real data, with nonconvex losses."""

    datasets: tuple[str, ...] | None = None
    """LIBSVM sets, a panel each: names of the data folder, or files. By default w8a, a9a, mushrooms
    and phishing where there is a data folder, else breast_cancer, which scikit-learn carries."""
    loss: Literal["logistic", "sigmoid"] = "logistic"
    """logistic: the logistic loss and 0.001 Σ x²/(1 + x²). sigmoid: (1 - sigmoid(margin))^2, whose
    gradient vanishes far out, where large steps go."""
    workers: int = 100
    """Number of workers n (ignored with --cluster)."""
    cluster: str | None = None
    """A CSV file as `dopt measure-cluster` writes it: seconds are then those of this cluster. Bits
    depend on its number of workers alone."""
    split: Literal["even", "label", "dirichlet"] = "even"
    """How samples go to workers: shuffled, sorted by label, or by drawn shares of each label."""
    kept: tuple[float, ...] = (0.05,)
    """Shares K/d of coordinates that RandK and TopK are tuned over."""
    target: float = 1e-5
    """The target ε for the squared gradient norm."""
    factors: tuple[int, int] = (-1, 8)
    """Exponents of the grid of factors of theory's step size: 2^first, ..., 2^last."""
    vectors: int = 500
    """No worker sends more bits than so many dense vectors have."""
    rounds: int = 2000
    """No run has more rounds than this."""
    tune_seeds: int = 1
    """Data seeds that choose variants and factors."""
    seeds: int = 3
    """Other data seeds, for the reported runs."""
    timeline_seed: int = 0
    """Seed of the coins that make a round dense."""


PRESETS = {
    "smoke": Preset(
        "seconds: every path once, on the set that scikit-learn carries",
        MarinaLibsvm(
            datasets=("breast_cancer",),
            workers=5,
            kept=(0.2,),
            target=0.03,
            factors=(0, 1),
            rounds=30,
            seeds=2,
        ),
    ),
    "quick": Preset("minutes: four sets, 100 workers", MarinaLibsvm()),
    "full": Preset(
        "an hour: more rounds, finer tuning, more seeds",
        MarinaLibsvm(
            kept=(0.01, 0.05, 0.2),
            target=1e-6,
            factors=(0, 11),
            vectors=2000,
            rounds=20_000,
            tune_seeds=2,
            seeds=8,
        ),
    ),
}
