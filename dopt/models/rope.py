"""Rotary position embeddings, and the two orders in which files keep the rotated pairs.

Inside, coordinate i of a head is rotated together with coordinate i + head_size/2, as in files of
Hugging Face. llama2.c and GGUF's llama files rotate 2i with 2i + 1: the rows of their query and key
weights are put into the other order when they are read, after which scores are the same numbers.

Source: Su et al., "RoFormer", arXiv 2104.09864; Llama 3.1's scaling as in its released code.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from dopt.errors import ConfigurationError
from dopt.models.config import Config, LinearScaling


Rows = TypeVar("Rows", np.ndarray, jax.Array)


def frequencies(config: Config) -> Float64[np.ndarray, " half"]:
    """Radians a token of each pair, the fastest first, scaling included."""
    half = config.head_size // 2
    plain = config.rope_theta ** (-np.arange(half, dtype=np.float64) / half)
    scaling = config.scaling
    if scaling is None:
        return plain
    if isinstance(scaling, LinearScaling):
        return plain / scaling.factor
    waves_in_context = scaling.original_context * plain / (2 * np.pi)
    kept = np.clip((waves_in_context - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return plain * (kept + (1 - kept) / scaling.factor)


def rotations(
    config: Config, length: int, dtype: jnp.dtype
) -> tuple[Float[Array, "length half"], Float[Array, "length half"]]:
    """Cosines and sines of positions 0 to length − 1.

    Angles are formed in float64 on the host: in float32 those of position 100,000 are off by 0.004.
    """
    angles = np.arange(length)[:, None] * frequencies(config)
    return jnp.asarray(np.cos(angles), dtype), jnp.asarray(np.sin(angles), dtype)


def rotate(
    x: Float[Array, "B T heads size"],
    cosines: Float[Array, "#B T half"],
    sines: Float[Array, "#B T half"],
) -> Float[Array, "B T heads size"]:
    """Queries or keys, rotated in the precision of the cosines."""
    first, second = jnp.split(x.astype(cosines.dtype), 2, axis=-1)
    cos, sin = cosines[:, :, None, :], sines[:, :, None, :]
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)


def half_split(rows: Rows, heads: int) -> Rows:
    """Rows of a query or key weight, or of its bias, from interleaved pairs to the order inside.

    Args:
        rows: [heads · size, ...].
        heads: how many there are.
    """
    size = _head_size(rows, heads)
    return rows.reshape(heads, size // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def interleaved(rows: Rows, heads: int) -> Rows:
    """The inverse of `half_split`."""
    size = _head_size(rows, heads)
    return rows.reshape(heads, 2, size // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _head_size(rows: np.ndarray | jax.Array, heads: int) -> int:
    if rows.shape[0] % (2 * heads):
        raise ConfigurationError(
            f"{rows.shape[0]} rows do not split into {heads} heads of even size"
        )
    return rows.shape[0] // heads
