"""How much the loss of a model grows with the relative error of each of its matrices.

The linearity theorem: where every matrix l of a trained model gets an isotropic error of zero mean
and relative size t_l² = ‖Ŵ_l − W_l‖²/‖W_l‖²,

    E φ(Ŵ) ≈ φ(W) + Σ_l α_l·t_l²,   α_l = ‖W_l‖²·tr(∇²_l φ)/(2·d_l),   d_l numbers in W_l

for small t_l, whatever quantizer makes the error. For each l and each of J levels of t:

    1. Ŵ_l = W_l + t·‖W_l‖/√d_l·Ξ, Ξ with entries N(0, 1); all other matrices as they are
    2. Δ_j = φ(Ŵ) − φ(W)
    3. α_l = Σ_j t_j²·Δ_j / Σ_j t_j⁴, the least squares through the origin

φ is the divergence KL(original ‖ noisy) a token, of which W is the minimum, or the perplexity. Only
the layers from that of the matrix on are computed. Where errors are large or many, losses do not
add up; `dopt compress --dynamic` prints what was predicted beside what is measured.

Source: Malinovskii et al., "Pushing the Limits of Large Language Model Quantization via the
Linearity Theorem", arXiv 2411.17525, Theorem 1 and section 5.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, PRNGKeyArray

from dopt.compression.rows import Rows
from dopt.compression.streams import Metric, Streams
from dopt.errors import ConfigurationError
from dopt.evaluation.steps import OnProgress, Steps, Stopping
from dopt.evaluation.windows import Windows
from dopt.models.config import Config
from dopt.models.decoder import INPUT_OF
from dopt.models.parameters import Model, leaf, linear_paths, parameter_shapes
from dopt.models.parameters import Path as Place


Together = Literal["matrix", "input", "layer"]


@dataclass(frozen=True)
class Noise:
    """What is added, and how often.

    Attributes:
        levels: of t².
        draws: of noise at each level.
        together: what gets noise at once, and then has one α: a matrix, the matrices of one input
            (q, k, v; gate, up), or all of a layer.
        seed: every draw of every matrix has a key of its own.
    """

    levels: tuple[float, ...] = (0.01, 0.04)
    draws: int = 1
    together: Together = "matrix"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise ConfigurationError(f"levels of t² = {self.levels}; give numbers between 0 and 1")
        if self.draws < 1:
            raise ConfigurationError(f"draws = {self.draws}; give at least 1")


class Linearity(NamedTuple):
    """What each matrix adds to the loss, α_l·t_l²."""

    alpha: dict[Place, float]
    fit: dict[Place, float]
    """R² of each line through the origin, 1 − Σ(Δ − αt²)²/Σ(Δ − mean Δ)²; NaN for one point."""
    metric: Metric

    def predicted(self, errors: dict[Place, float]) -> float:
        """Σ_l α_l·t_l²."""
        return math.fsum(self.alpha[place] * errors[place] for place in self.alpha)


def groups_of(config: Config, together: Together) -> list[tuple[Place, ...]]:
    """What gets noise at once, in the order of the forward pass."""
    groups: dict[Any, list[Place]] = {}
    for place in linear_paths(config):
        keys = {"matrix": place, "input": (place[1], INPUT_OF[str(place[2])]), "layer": place[1]}
        groups.setdefault(keys[together], []).append(place)
    return [tuple(group) for group in groups.values()]


def measure(
    model: Model,
    windows: Windows,
    noise: Noise = Noise(),
    *,
    metric: Metric = "kl",
    file: Path | None = None,
    source: str = "",
    on_estimate: Callable[[int, float], None] | None = None,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
) -> Linearity:
    """α of every matrix.

    The streams in front of all layers are held: 4·layers·d bytes a token.

    Args:
        model: the original.
        windows: of a text, or of random tokens, which need no data.
        noise: see there.
        metric: φ, a token: KL in nats, or the perplexity.
        file: where each measurement is kept at once, so that a killed run can go on.
        source: what says which model it is, as a fingerprint.
        on_estimate: told how many measurements are to be made and the seconds they will take.
        on_progress: told how much was computed, and of how much, in thousandths of a pass.
        stopping: asked after every measurement.

    Raises:
        ConfigurationError: tokens or windows that do not fit the model, or a file of another
            measurement.
        InterruptedRunError: the user has asked to stop.
    """
    groups = groups_of(model.config, noise.together)
    told = {"windows": windows.fingerprint, "metric": metric, "source": source}
    rows = Rows(file, told | {"noise": asdict(noise)})
    work = [
        (group, level, draw)
        for group in groups
        for level in range(len(noise.levels))
        for draw in range(noise.draws)
    ]
    left = [job for job in work if _key(*job) not in rows]
    if left:
        streams = Streams(model, windows)
        base, seconds = streams.timed(metric)
        where = [int(group[0][1]) for group, _, _ in left]
        costs = [streams.share(i) for i in where]
        if on_estimate is not None:
            on_estimate(len(left), seconds * sum(costs))
        kept = "what was measured is kept" if file is not None else "nothing is kept"
        steps = Steps(round(1000 * sum(costs)), on_progress, stopping, kept)
        for job, i, cost in zip(left, where, costs, strict=True):
            loss = streams.loss(i, _noisy(model, noise, *job), metric)
            rows.add(_key(*job), loss - base)
            steps.step(round(1000 * cost))
    return _fitted(model, noise, rows, metric)


def _key(group: tuple[Place, ...], level: int, draw: int) -> tuple[str | int, ...]:
    return ".".join(map(str, group[0])), level, draw


def _fitted(model: Model, noise: Noise, rows: Rows, metric: Metric) -> Linearity:
    alpha, fit = {}, {}
    shapes = parameter_shapes(model.config)
    t2 = np.repeat(np.asarray(noise.levels, np.float64), noise.draws)
    for group in groups_of(model.config, noise.together):
        deltas = np.array(
            [
                rows[_key(group, level, draw)]
                for level in range(len(noise.levels))
                for draw in range(noise.draws)
            ]
        )
        slope, r2 = through_origin(t2, deltas)
        sizes = [math.prod(shapes[place]) for place in group]
        for place, size in zip(group, sizes, strict=True):
            # Nothing tells the weights of a group apart: each has the same share.
            alpha[place] = slope * size / sum(sizes)
            fit[place] = r2
    return Linearity(alpha, fit, metric)


def through_origin(
    x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]
) -> tuple[float, float]:
    """The slope of the line y = slope·x of least squares, and its R²; NaN where y is constant."""
    slope = float(x @ y) / float(x @ x)
    spread = float(np.sum((y - y.mean()) ** 2))
    return slope, 1 - float(np.sum((y - slope * x) ** 2)) / spread if spread else math.nan


def _noisy(
    model: Model, noise: Noise, group: tuple[Place, ...], level: int, draw: int
) -> dict[str, Array]:
    """The matrices of a layer with noise."""
    places = {place: i for i, place in enumerate(linear_paths(model.config))}
    noisy = {}
    for place in group:
        key = jax.random.key(noise.seed)
        for number in (places[place], level, draw):
            key = jax.random.fold_in(key, number)
        t = jnp.float32(math.sqrt(noise.levels[level]))
        noisy[str(place[2])] = _with_noise(leaf(model.params, place), key, t)
    return noisy


@jax.jit
def _with_noise(
    W: Float[Array, "out in"], key: PRNGKeyArray, t: Float[Array, ""]
) -> Float[Array, "out in"]:
    wide = W.astype(jnp.float32)
    drawn = jax.random.normal(key, W.shape, jnp.float32)
    return (wide + t * jnp.sqrt(jnp.mean(wide * wide)) * drawn).astype(W.dtype)
