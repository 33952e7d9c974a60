"""What can be set in the study `kimad-quadratic`, and its presets."""

from dataclasses import dataclass

from experiments.settings.preset import Preset


@dataclass(frozen=True)
class KimadQuadratic:
    """Compression that follows the bandwidth, on quadratics: links that swing as a sine."""

    dimensions: tuple[int, ...] = (30, 300)
    """Dimensions d, a panel each; three layers, whose curvatures are 1, 0.3, 0.1 and less."""
    workers: int = 4
    """Number of workers n."""
    cluster: str | None = None
    """A CSV file as `dopt measure-cluster` writes it, instead of workers, low and period: fixed
    links, where only a ratio for each worker or layer is left to gain. Times of a round then count
    in the slowest gradient, or message of `share` of a dense one."""
    low: float = 0.1
    """The least bandwidth in units of the swing: η sin²(θt) + δ with δ = low · η."""
    period: float = 60.0
    """Seconds between two lows; a gradient takes one."""
    share: float = 0.3
    """A gradient takes as long as a message of so large a share of a dense one, on average."""
    times: tuple[float, ...] = (2.0, 3.0, 5.0, 9.0)
    """Times of a round, in those of a gradient, that Kimad is tuned over."""
    least: float = 0.034
    """The least ratio K/d of the ladder."""
    rungs: int = 16
    """Ratios of the ladder."""
    every: int = 2
    """The best fixed ratio is looked for among every so many of them."""
    target: float = 1e-4
    """The target ε for the squared gradient norm."""
    factors: tuple[int, int] = (-3, 2)
    """Exponents of the grid of step sizes, one for all methods: 2^first, ..., 2^last."""
    rounds: int = 1500
    """No run has more rounds than this, nor takes longer than as many rounds of four gradients."""
    tune_seeds: int = 1
    """Data seeds that choose step sizes and the best fixed ratio; nothing is random here."""
    seeds: int = 1
    """Other data seeds, for the reported runs."""
    timeline_seed: int = 0
    """Not used here: no time is drawn."""


PRESETS = {
    "smoke": Preset(
        "seconds: every path once",
        KimadQuadratic(
            dimensions=(12,),
            workers=2,
            share=0.6,
            times=(3.0,),
            least=0.25,
            rungs=4,
            target=0.1,
            factors=(-1, 0),
            rounds=60,
        ),
    ),
    "quick": Preset("minutes: d = 30 and 300, four workers", KimadQuadratic()),
    "full": Preset(
        "an hour: also d = 1,500, a finer ladder, all fixed ratios",
        KimadQuadratic(dimensions=(30, 300, 1500), rungs=24, every=1, factors=(-5, 2), rounds=5000),
    ),
}
