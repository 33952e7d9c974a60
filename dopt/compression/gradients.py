"""What gradients tell of the loss of errors in weights: the term of first order, and α at once.

A backward pass goes layer by layer over the held streams, so that the gradients of one layer are
there at a time.

*First order.* A grid of centroids gives Ŵ with ⟨Ŵ − W, W⟩ = −t²·‖W‖², which Gaussian noise does
not have: the perplexity φ changes by −t_l²·⟨∇_l φ, W_l⟩ beside α_l·t_l². KL to the original has no
such term, its gradient is zero.

*Second order.* The Hessian of KL is the Fisher matrix, whose trace is that of one-token samples y
from the model itself, which are independent of each other given the text:

    M·tr F_l = E ‖Σ_i ∇_l log p(y_i | text in front of i)‖²,   α_l = ‖W_l‖²·tr F_l/(2·d_l),

with M scored tokens. So a few backward passes give α of all matrices, where noise needs a pass for
each. It is the limit t → 0 of `linearity.measure`, and does not see that lines bend.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dopt.compression.streams import Streams
from dopt.errors import ConfigurationError
from dopt.evaluation.scoring import head_parameters, in_front, negative_log_likelihoods
from dopt.evaluation.steps import OnProgress, Steps, Stopping
from dopt.models.config import Config
from dopt.models.decoder import INPUT_OF, Places, block, head
from dopt.models.parameters import Params, leaf, linear_paths
from dopt.models.parameters import Path as Place


CHUNK = 256
"""Positions whose logits are held at once, and whose samples have a key in common."""


def first_order(streams: Streams, stopping: Stopping | None = None) -> dict[Place, float]:
    """−⟨∇_l φ, W_l⟩ of the perplexity φ on the windows of the streams, for every matrix.

    Raises:
        InterruptedRunError: the user has asked to stop.
    """
    params, config = streams.model
    steps = Steps(len(streams.parts), None, stopping)
    found = dict.fromkeys(linear_paths(config), 0.0)
    begin, nll = 0, 0.0
    for number, part in enumerate(streams.parts):
        row, place = in_front(streams.windows, part)
        targets = jnp.asarray(streams.targets[begin : begin + row.size], jnp.int32)
        begin += row.size
        outer, x = head_parameters(streams.model), streams.x[-1][number]
        lost, pull = _nll(outer, config, x[row, place], targets)
        nll += lost
        cotangent = jnp.zeros_like(x).at[row, place].set(pull)
        for i, gradients in _backwards(streams, number, slice(None), cotangent):
            for name, gradient in gradients.items():
                weight = leaf(params, ("layers", i, name))
                found["layers", i, name] -= _inner(gradient, weight)
        steps.step()
    M = streams.targets.size
    return {place: math.exp(nll / M) * total / M for place, total in found.items()}


def by_gradients(
    streams: Streams,
    draws: int = 1,
    seed: int = 0,
    *,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
) -> dict[Place, float]:
    """α of every matrix, of KL a token to the original, by the trace of the Fisher matrix.

    Args:
        streams: of the model on some windows; the more windows, the better the estimate.
        draws: samples of the tokens of each window, each with a key of its own.
        seed: of all samples.
        on_progress: told how many backward passes are done, and of how many.
        stopping: asked after every pass.

    Raises:
        ConfigurationError: no draws.
        InterruptedRunError: the user has asked to stop.
    """
    if draws < 1:
        raise ConfigurationError(f"draws = {draws}; give at least 1")
    params, config = streams.model
    N = len(streams.windows.tokens)
    steps = Steps(N * draws, on_progress, stopping)
    squares = dict.fromkeys(linear_paths(config), 0.0)
    for number, part in enumerate(streams.parts):
        for w in range(part.stop - part.start):
            x = streams.x[-1][number][w : w + 1]
            _, place = in_front(streams.windows, slice(part.start + w, part.start + w + 1))
            for draw in range(draws):
                key = jax.random.fold_in(jax.random.key(seed), part.start + w)
                key = jax.random.fold_in(key, draw)
                pull = _of_samples(head_parameters(streams.model), config, x[0, place], key)
                cotangent = jnp.zeros_like(x).at[0, place].set(pull)
                for i, gradients in _backwards(streams, number, slice(w, w + 1), cotangent):
                    for name, gradient in gradients.items():
                        squares["layers", i, name] += _inner(gradient, gradient)
                steps.step()
    M = streams.targets.size * draws
    weights = {place: leaf(params, place) for place in squares}
    return {
        place: _inner(weights[place], weights[place]) / weights[place].size * total / (2 * M)
        for place, total in squares.items()
    }


def _backwards(
    streams: Streams, part: int, rows: slice, cotangent: Float[Array, "B T d"]
) -> Iterator[tuple[int, dict[str, Array]]]:
    """The gradients of the matrices of each layer, from the last to the first."""
    params, config = streams.model
    for i in reversed(range(config.layers)):
        x = streams.x[i][part][rows]
        gradients, cotangent = _back(params["layers"][i], config, x, streams.places, cotangent)
        yield i, gradients


@partial(jax.jit, static_argnames="config")
def _back(
    layer: Params, config: Config, x: Array, places: Places, cotangent: Array
) -> tuple[dict[str, Array], Array]:
    def forward(matrices: dict[str, Any], x: Array) -> Array:
        return block(layer | matrices, config, x, places)[0]

    _, pull = jax.vjp(forward, {name: layer[name] for name in INPUT_OF}, x)
    gradients, earlier = pull(cotangent)
    return gradients, earlier


def _nll(
    outer: Params, config: Config, x: Float[Array, "M d"], targets: Int[Array, " M"]
) -> tuple[float, Float[Array, "M d"]]:
    """Σ −log p(target), and its gradient, a chunk at a time."""
    total, pulls = 0.0, []
    for at in range(0, targets.size, CHUNK):
        lost, pull = _nll_chunk(outer, config, x[at : at + CHUNK], targets[at : at + CHUNK])
        total += float(lost)
        pulls.append(pull)
    return total, jnp.concatenate(pulls)


@partial(jax.jit, static_argnames="config")
def _nll_chunk(outer: Params, config: Config, x: Array, targets: Array) -> tuple[Array, Array]:
    def lost(x: Array) -> Array:
        (nll,) = negative_log_likelihoods(outer, config, x, targets)
        return jnp.sum(nll)

    value, gradient = jax.value_and_grad(lost)(x)
    return value, gradient


def _of_samples(
    outer: Params, config: Config, x: Float[Array, "M d"], key: PRNGKeyArray
) -> Float[Array, "M d"]:
    """The gradient of Σ −log p(y) with y drawn from p at every place."""
    return jnp.concatenate(
        [
            _samples_chunk(outer, config, x[at : at + CHUNK], jax.random.fold_in(key, at))
            for at in range(0, len(x), CHUNK)
        ]
    )


@partial(jax.jit, static_argnames="config")
def _samples_chunk(outer: Params, config: Config, x: Array, key: PRNGKeyArray) -> Array:
    drawn = jax.random.categorical(key, head(outer, config, x), axis=-1)
    return _nll_chunk(outer, config, x, drawn)[1]


def _inner(a: Float[Array, "out in"], b: Float[Array, "out in"]) -> float:
    """⟨a, b⟩: products and sums of rows in float32, their sum in float64."""
    return float(np.asarray(_row_products(a, b), np.float64).sum())


@jax.jit
def _row_products(a: Array, b: Array) -> Array:
    return jnp.sum(a.astype(jnp.float32) * b.astype(jnp.float32), axis=1)
