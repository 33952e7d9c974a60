"""The loss of a model in which one layer is changed, from the layer on.

The residual stream of the original in front of every layer is held, so that what lies in front of
the changed layer is not computed again.
"""

import math
import time
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dopt.evaluation.windows import Windows, check_tokens
from dopt.models.config import Config
from dopt.models.decoder import block, embed, head, places
from dopt.models.parameters import Model, Params, parameter_shapes


Metric = Literal["kl", "perplexity"]

TOKENS = 2048
"""Tokens that go through a layer at once, or a row if that has more."""
CHUNK = 128
"""Tokens whose logits are held at once."""


class Streams:
    """Of a model on some windows, and the losses of changed models beside it."""

    def __init__(self, model: Model, windows: Windows) -> None:
        """One pass of the model.

        Raises:
            ConfigurationError: tokens that the model does not have, or too many of them in a row.
        """
        self.model, self.windows = model, windows
        params, config = model
        check_tokens(windows.tokens, config.vocabulary)
        N, T = windows.tokens.shape
        config.check_length(T)
        self.outer: Params = {name: params[name] for name in params.keys() - {"layers"}}
        rows = max(1, TOKENS // T)
        self.tokens = [jnp.asarray(windows.tokens[i : i + rows]) for i in range(0, N, rows)]
        dtype = params["norm"].dtype
        self.places = places(config, jnp.arange(T, dtype=jnp.int32)[None], T, dtype)
        self.x = [[embed(params, tokens) for tokens in self.tokens]]
        """The stream in front of each layer, and behind the last, in batches of rows."""
        for layer in params["layers"]:
            self.x.append(self._through(layer, self.x[-1]))

    def loss(self, i: int, matrices: dict[str, Any], metric: Metric) -> float:
        """The loss, a token, with other matrices in layer i."""
        layers = self.model.params["layers"]
        x = self._through(layers[i] | matrices, self.x[i])
        for layer in layers[i + 1 :]:
            x = self._through(layer, x)
        return self._loss(x, metric)

    def timed(self, metric: Metric) -> tuple[float, float]:
        """The loss of the original, and the seconds of one pass once it is compiled."""
        self.loss(0, {}, metric)
        begun = time.perf_counter()
        return self.loss(0, {}, metric), time.perf_counter() - begun

    def share(self, i: int) -> float:
        """What `loss` computes with layer i, as a share of a whole pass."""
        shapes = parameter_shapes(self.model.config)
        layer = sum(
            math.prod(shape) for place, shape in shapes.items() if place[:2] == ("layers", 0)
        )
        # Both models' logits are computed.
        heads = 2 * math.prod(shapes["embedding",]) / layer
        return (self.model.config.layers - i + heads) / (self.model.config.layers + heads)

    def _through(self, layer: Params, x: list[Array]) -> list[Array]:
        return [block(layer, self.model.config, rows, self.places)[0] for rows in x]

    def _loss(self, x: list[Array], metric: Metric) -> float:
        """Summed over the tokens that the windows score, in float64."""
        config, total = self.model.config, 0.0
        targets = [np.asarray(tokens) for tokens in self.tokens]
        scored = np.split(self.windows.scored, np.cumsum([len(t) for t in targets])[:-1])
        for rows, original, tokens, counts in zip(x, self.x[-1], targets, scored, strict=True):
            # The stream at a token predicts the next one.
            flat = [_flat(a[:, :-1]) for a in (rows, original)]
            following, counted = tokens[:, 1:].ravel(), counts[:, 1:].ravel()
            for at in range(0, following.size, CHUNK):
                part = slice(at, at + CHUNK)
                losses = _losses(
                    self.outer,
                    config,
                    _filled(flat[0][part]),
                    _filled(flat[1][part]),
                    _filled(jnp.asarray(following[part])),
                )
                values = np.asarray(losses[metric], np.float64)[: following[part].size]
                total += float(values[counted[part]].sum())
        mean = total / float(self.windows.counts.sum())
        return math.exp(mean) if metric == "perplexity" else mean


@partial(jax.jit, static_argnames="config")
def _losses(
    outer: Params,
    config: Config,
    x: Float[Array, "k d"],
    original: Float[Array, "k d"],
    following: Int[Array, " k"],
) -> dict[str, Float[Array, " k"]]:
    """KL(original ‖ changed) at each token, and −log of the probability of the next."""
    p, q = (jax.nn.log_softmax(head(outer, config, a), axis=-1) for a in (original, x))
    nll = -jnp.take_along_axis(q, following[:, None], axis=1)[:, 0]
    return {"kl": jnp.sum(jnp.exp(p) * (p - q), axis=-1), "perplexity": nll}


def _flat(x: Float[Array, "N T d"]) -> Float[Array, "n d"]:
    return x.reshape(-1, x.shape[-1])


def _filled(x: Array) -> Array:
    """Filled up to a whole chunk, so that one program serves all."""
    return jnp.pad(x, [(0, CHUNK - x.shape[0])] + [(0, 0)] * (x.ndim - 1))
