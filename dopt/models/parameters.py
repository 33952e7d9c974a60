"""The parameters of a decoder: nested dicts of arrays, layer by layer, and their shapes.

    {"embedding": [vocabulary, d], "layers": [layer, …], "norm": [d], "head": [vocabulary, d]}

without "head" where it is tied. A layer holds, with weights as [out, in], so that y = W x,

    "attention_norm", "mlp_norm": [d]
    "q": [heads·size, d]; "k", "v": [kv_heads·size, d]; "o": [d, heads·size]
    "gate", "up": [d_ff, d]; "down": [d, d_ff]
    "q_bias", "k_bias", "v_bias": as many numbers as rows, where the configuration has them
    "q_norm", "k_norm": [size], where the configuration has them
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from dopt.models.config import Config


Params = dict[str, Any]
Path = tuple[str | int, ...]
"""Where an array lies, such as ("layers", 3, "q")."""


class Model(NamedTuple):
    """A decoder: its parameters and what decides its forward pass."""

    params: Params
    config: Config


def parameter_shapes(config: Config) -> dict[Path, tuple[int, ...]]:
    """The shape of every array, in the order of the forward pass."""
    shapes: dict[Path, tuple[int, ...]] = {("embedding",): (config.vocabulary, config.d_model)}
    layer = _layer_shapes(config)
    for i in range(config.layers):
        shapes |= {("layers", i, name): shape for name, shape in layer.items()}
    shapes["norm",] = (config.d_model,)
    if not config.tied:
        shapes["head",] = (config.vocabulary, config.d_model)
    return shapes


def _layer_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    d, size = config.d_model, config.head_size
    q, kv = config.heads * size, config.kv_heads * size
    shapes: dict[str, tuple[int, ...]] = {
        "attention_norm": (d,),
        "q": (q, d),
        "k": (kv, d),
        "v": (kv, d),
        "o": (d, q),
        "mlp_norm": (d,),
        "gate": (config.d_ff, d),
        "up": (config.d_ff, d),
        "down": (d, config.d_ff),
    }
    if config.qkv_bias:
        shapes |= {"q_bias": (q,), "k_bias": (kv,), "v_bias": (kv,)}
    if config.qk_norm:
        shapes |= {"q_norm": (size,), "k_norm": (size,)}
    return shapes


def parameter_count(config: Config) -> int:
    """How many numbers the model has; a tied head counts once."""
    return sum(math.prod(shape) for shape in parameter_shapes(config).values())


def build(config: Config, read: Callable[[Path, tuple[int, ...]], Any]) -> Params:
    """The parameters with what `read` gives for each place and shape."""
    params: Params = {"layers": [{} for _ in range(config.layers)]}
    for path, shape in parameter_shapes(config).items():
        inside = params if len(path) == 1 else params["layers"][path[1]]
        inside[str(path[-1])] = read(path, shape)
    return params


def leaf(params: Params, path: Path) -> Any:
    """What lies at a place."""
    inside: Any = params
    for step in path:
        inside = inside[step]
    return inside


def linear_paths(config: Config) -> list[Path]:
    """Where the matrices of the layers lie, in the order of the forward pass."""
    return [
        path
        for path, shape in parameter_shapes(config).items()
        if len(path) > 1 and len(shape) == 2
    ]


def replaced(params: Params, leaves: Mapping[Path, Any]) -> Params:
    """The parameters with other leaves at some places; what is not replaced is shared."""
    changed = params | {"layers": [dict(layer) for layer in params["layers"]]}
    for path, value in leaves.items():
        leaf(changed, path[:-1])[path[-1]] = value
    return changed


def random_parameters(config: Config, key: PRNGKeyArray, dtype: Any = jnp.float32) -> Params:
    """A start for training: weights N(0, 0.02²), those that write to the residual stream less.

    The outputs of the 2·layers branches add up, so "o" and "down" are divided by √(2·layers)
    (GPT-2's rule). Norms are 1 and biases 0. Each array has a key of its own.
    """
    places = {path: i for i, path in enumerate(parameter_shapes(config))}

    def draw(path: Path, shape: tuple[int, ...]) -> Array:
        name = str(path[-1])
        if name.endswith("norm"):
            return jnp.ones(shape, dtype)
        if name.endswith("bias"):
            return jnp.zeros(shape, dtype)
        scale = 0.02 / math.sqrt(2 * config.layers) if name in ("o", "down") else 0.02
        return _normal(key, jnp.int32(places[path]), jnp.float32(scale), shape, dtype)

    return build(config, draw)


@partial(jax.jit, static_argnames=("shape", "dtype"))
def _normal(
    key: PRNGKeyArray, place: Array, scale: Array, shape: tuple[int, ...], dtype: Any
) -> Array:
    drawn = jax.random.normal(jax.random.fold_in(key, place), shape, dtype)
    return scale.astype(dtype) * drawn
