"""A small random decoder, and its log-probabilities in numpy."""

import jax.numpy as jnp
import numpy as np
import numpy_decoder

from dopt.models import Config, Model
from dopt.models.parameters import build


CONFIG = Config(
    vocabulary=13, layers=2, d_model=12, heads=4, kv_heads=2, head_size=8, d_ff=20, context=12
)


def drawn(seed=0, config=CONFIG, dtype=jnp.float64):
    """A decoder with nothing at 0 or 1, whose predictions are far from uniform."""
    random = np.random.default_rng(seed)

    def draw(path, shape):
        return jnp.asarray(random.normal(len(shape) == 1, 0.6, shape), dtype)

    return Model(build(config, draw), config)


def changed(model, by, name="up", seed=3):
    """The model with noise of size `by` in one matrix of every layer."""
    random = np.random.default_rng(seed)
    layers = []
    for layer in model.params["layers"]:
        noise = by * random.normal(size=layer[name].shape)
        layers.append(layer | {name: layer[name] + jnp.asarray(noise, layer[name].dtype)})
    return Model(model.params | {"layers": layers}, model.config)


def log_probabilities(model, tokens):
    """[T, vocabulary] by plain loops."""
    logits = numpy_decoder.logits(*model, tokens)
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
