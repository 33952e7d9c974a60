"""The loss of a model in which one layer is changed, computed from that layer on.

The residual stream of the original in front of every layer is held, so that what lies in front of
the changed layer is not computed again.
"""

import math
import time
from functools import partial
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dopt.evaluation.divergence import compared
from dopt.evaluation.forward import batch_rows
from dopt.evaluation.perplexity import exponential
from dopt.evaluation.scoring import (
    head_parameters,
    in_chunks,
    in_front,
    negative_log_likelihoods,
    targets,
)
from dopt.evaluation.windows import Windows, check_tokens
from dopt.models.decoder import block, embed, places
from dopt.models.parameters import Model, Params, parameter_shapes


Metric = Literal["kl", "perplexity"]

Stream = list[Float[Array, "B T d"]]
"""In batches of windows."""


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
        rows, dtype = batch_rows((N, T), None), params["norm"].dtype
        self.parts = [slice(at, min(at + rows, N)) for at in range(0, N, rows)]
        self.places = places(config, jnp.arange(T, dtype=jnp.int32)[None], T, dtype)
        tokens = [jnp.asarray(windows.tokens[part]) for part in self.parts]
        self.x: list[Stream] = [[embed(params, batch) for batch in tokens]]
        """In front of each layer, and behind the last."""
        for layer in params["layers"]:
            self.x.append(self.through(layer, self.x[-1]))
        self.original = self._scored(self.x[-1])
        self.targets = np.concatenate([targets(windows, part) for part in self.parts])

    def through(self, layer: Params, x: Stream) -> Stream:
        """The stream behind a layer."""
        return [block(layer, self.model.config, rows, self.places)[0] for rows in x]

    def loss(self, i: int, matrices: dict[str, Any], metric: Metric) -> float:
        """The loss, a token, with other matrices in layer i: KL to the original, or perplexity."""
        layers = self.model.params["layers"]
        x = self.through(layers[i] | matrices, self.x[i])
        for layer in layers[i + 1 :]:
            x = self.through(layer, x)
        outer, config = head_parameters(self.model), self.model.config
        if metric == "kl":
            score = partial(compared, outer, config, outer, config)
            kl, *_ = in_chunks(score, self.original, self._scored(x), self.targets)
            return float(kl.mean())
        score = partial(negative_log_likelihoods, outer, config)
        (nll,) = in_chunks(score, self._scored(x), self.targets)
        return exponential(float(nll.mean()))

    def timed(self, metric: Metric) -> tuple[float, float]:
        """The loss of the original, and the seconds of one pass once it is compiled."""
        self.loss(0, {}, metric)
        begun = time.perf_counter()
        return self.loss(0, {}, metric), time.perf_counter() - begun

    def share(self, i: int) -> float:
        """What `loss` computes with another layer i, as a share of a whole pass."""
        shapes, layers = parameter_shapes(self.model.config), self.model.config.layers
        layer = sum(math.prod(shape) for place, shape in shapes.items() if place[1:2] == (0,))
        # The logits of both models are computed.
        heads = 2 * math.prod(shapes["embedding",]) / layer
        return (layers - i + heads) / (layers + heads)

    def _scored(self, x: Stream) -> Float[np.ndarray, "M d"]:
        """The stream in front of every scored token."""
        found = [rows[in_front(self.windows, part)]
                 for rows, part in zip(x, self.parts, strict=True)]  # fmt: skip
        return np.concatenate([np.asarray(rows) for rows in found])
