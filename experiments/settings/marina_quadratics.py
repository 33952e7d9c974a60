"""What can be set in the study `marina-quadratics`, and its presets."""

from dataclasses import dataclass

from experiments.settings.preset import Preset


@dataclass(frozen=True)
class MarinaQuadratics:
    """What correlated messages save MARINA, and how workers that differ take it away."""

    workers: tuple[int, ...] = (10, 100, 400)
    """Numbers of workers n, a panel in each row (ignored with --cluster)."""
    cluster: str | None = None
    """A CSV file as `dopt measure-cluster` writes it: seconds are then those of this cluster. Bits
    depend on its number of workers alone."""
    spreads: tuple[float, ...] = (0.0, 0.1, 1.0)
    """How much the workers' quadratics differ (the papers' λ), a row of panels each."""
    dimension: int = 128
    """Dimension d."""
    target: float = 1e-4
    """The target ε for the squared gradient norm."""
    factors: tuple[int, int] = (-1, 5)
    """Exponents of the grid of factors of theory's step size: 2^first, ..., 2^last."""
    vectors: int = 200
    """No worker sends more bits than so many dense vectors have."""
    rounds: int = 20_000
    """No run has more rounds than this."""
    tune_seeds: int = 2
    """Data seeds that choose the factor."""
    seeds: int = 5
    """Other data seeds, for the reported runs."""
    timeline_seed: int = 0
    """Seed of the coins that make a round dense."""


PRESETS = {
    "smoke": Preset(
        "seconds: every path once, in dimension 16",
        MarinaQuadratics(
            workers=(4,),
            spreads=(0.0, 1.0),
            dimension=16,
            target=1e-2,
            factors=(0, 1),
            vectors=30,
            rounds=300,
            tune_seeds=1,
            seeds=2,
        ),
    ),
    "quick": Preset("minutes: 10 to 400 workers, equal and different", MarinaQuadratics()),
    "full": Preset(
        "an hour: up to 1,000 workers in dimension 1,000, more seeds",
        MarinaQuadratics(
            workers=(10, 100, 1000),
            dimension=1000,
            vectors=1000,
            rounds=100_000,
            tune_seeds=3,
            seeds=10,
        ),
    ),
}
