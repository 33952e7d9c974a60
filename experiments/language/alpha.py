"""α of a model's matrices, as a command asks for it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dopt.compression.compress import name_of
from dopt.compression.gradients import by_gradients, first_order
from dopt.compression.linearity import Linearity, Noise, measure
from dopt.compression.streams import Metric, Streams
from dopt.errors import ConfigurationError
from dopt.evaluation import Windows
from dopt.evaluation.steps import OnProgress
from dopt.models.fingerprint import fingerprint
from dopt.models.load import Loaded
from dopt.models.parameters import Path as Place
from experiments.language.options_compress import Compression
from experiments.language.tokens import alpha_windows
from experiments.terminal import duration, say


class Alpha(NamedTuple):
    """What was measured, and on which windows.

    Attributes:
        linearity: α and how well each line fits.
        first: what perplexity changes by in first order, a unit of t²; empty for KL.
        windows: of the tokens.
    """

    linearity: Linearity
    first: dict[Place, float]
    windows: Windows

    def first_order(self, errors: dict[Place, float]) -> float:
        """Σ_l −t_l²·⟨∇_l φ, W_l⟩."""
        return math.fsum(slope * errors[place] for place, slope in self.first.items())

    def table(self) -> list[dict[str, Any]]:
        """A row for each matrix."""
        alpha, fit = self.linearity.alpha, self.linearity.fit
        return [
            {
                "matrix": name_of(place),
                "layer": place[1],
                "kind": place[2],
                "alpha": alpha[place],
                "r2": fit[place],
                "first_order": self.first.get(place, 0.0),
            }
            for place in alpha
        ]


def alpha_of(
    options: Compression,
    loaded: Loaded,
    file: Path,
    tell: OnProgress,
    stopping: Callable[[], bool],
    metric: Metric = "kl",
) -> Alpha:
    """Measures α.

    Args:
        options: how.
        loaded: the original.
        file: where measurements are kept.
        tell: told the progress.
        stopping: asked whether to stop.
        metric: the loss.

    Raises:
        ConfigurationError: settings that cannot be, or a file of another measurement.
        DataError: a text that cannot be read.
        InterruptedRunError: the user asked to stop.
    """
    windows = alpha_windows(options, loaded)
    if options.estimate == "gradients":
        if metric != "kl":
            raise ConfigurationError(
                "gradients give α of KL; give --estimate noise with --metric perplexity"
            )
        streams = Streams(loaded.model, windows)
        alpha = by_gradients(
            streams, options.draws, options.seed, on_progress=tell, stopping=stopping
        )
        return Alpha(Linearity(alpha, dict.fromkeys(alpha, math.nan), metric), {}, windows)
    noise = Noise(options.levels, options.draws, options.together, options.seed)

    def estimate(count: int, seconds: float) -> None:
        if not options.quiet:
            say(f"α: {count} measurements, about {duration(seconds)}")

    found = measure(
        loaded.model,
        windows,
        noise,
        metric=metric,
        file=file,
        source=fingerprint(loaded.model.params),
        on_estimate=estimate,
        on_progress=tell,
        stopping=stopping,
    )
    slopes = {}
    if metric == "perplexity":
        slopes = first_order(Streams(loaded.model, windows), stopping)
    return Alpha(found, slopes, windows)
