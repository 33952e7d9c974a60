"""From the residual stream to numbers per token, in chunks, so that no window's logits are whole.

Only what stands in front of a scored token goes through the head.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Int64

from dopt.evaluation.windows import Windows
from dopt.models.config import Config
from dopt.models.decoder import head
from dopt.models.parameters import Model, Params


CHUNK = 64
"""Positions whose logits are held at once, several times over: 13 MB for 49,152 tokens."""


def head_parameters(model: Model) -> Params:
    """What of a model the head needs."""
    names = ("norm", "embedding" if model.config.tied else "head")
    return {name: model.params[name] for name in names}


def in_front(windows: Windows, part: slice) -> tuple[Int64[np.ndarray, " M"], ...]:
    """Row (within the part) and place of what stands in front of each scored token, in order."""
    row, place = np.nonzero(windows.scored[part])
    return row, place - 1


def targets(windows: Windows, part: slice) -> Int64[np.ndarray, " M"]:
    """The scored tokens of some windows, in order."""
    return windows.tokens[part][windows.scored[part]].astype(np.int64)


def in_chunks(
    score: Callable[..., Sequence[Array]], *arrays: Array | np.ndarray
) -> list[Float64[np.ndarray, " M"]]:
    """What `score` gives for every position, computed CHUNK at a time."""
    M = len(arrays[0])
    size = min(CHUNK, M)
    found: Iterator[Sequence[Array]] = (
        score(*(_padded(array[start : start + size], size) for array in arrays))
        for start in range(0, M, size)
    )
    columns = zip(*([np.asarray(a, np.float64) for a in part] for part in found), strict=True)
    return [np.concatenate(column)[:M] for column in columns]


def window_sums(
    windows: Windows, part: slice, values: Float64[np.ndarray, " M"]
) -> Float64[np.ndarray, " B"]:
    """Sums of values of the scored tokens, for each window of a part."""
    row, _ = in_front(windows, part)
    return np.bincount(row, values, minlength=len(windows.tokens[part]))


@partial(jax.jit, static_argnames="config")
def negative_log_likelihoods(
    params: Params, config: Config, x: Float[Array, "M d"], target: Int[Array, " M"]
) -> tuple[Float[Array, " M"]]:
    """−log p(target) in nats."""
    logits = head(params, config, x)
    return (jax.nn.logsumexp(logits, axis=-1) - _at(logits, target),)


def _at(logits: Float[Array, "M vocabulary"], target: Int[Array, " M"]) -> Float[Array, " M"]:
    return jnp.take_along_axis(logits, target[:, None], axis=1)[:, 0]


def _padded(array: Array | np.ndarray, size: int) -> Array:
    missing = size - len(array)
    return jnp.pad(jnp.asarray(array), [(0, missing)] + [(0, 0)] * (array.ndim - 1))
