"""The residual stream behind the last layer, for many windows.

The walk goes layer by layer over all windows of a slab, so that a packed layer is unpacked once a
slab, and what is held beside the model is one unpacked layer and the residual stream.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from compressors.weights import PackedWeight
from dopt.evaluation.steps import Steps
from dopt.models.decoder import block, embed, places
from dopt.models.parameters import Model, Params


_TOKENS = 512
"""Tokens of a batch where nothing else is said: more are not faster on a CPU."""
_SLAB = 1 << 28
"""Bytes of residual stream that are held at most, a batch at the least."""


def batch_rows(shape: tuple[int, ...], batch: int | None) -> int:
    """Windows that go through a layer together: about `batch`, the last batch as full as others."""
    N, T = shape
    wanted = max(1, _TOKENS // T) if batch is None else batch
    batches = -(-N // wanted)
    return -(-N // batches)


def forward_steps(model: Model, shape: tuple[int, ...], batch: int | None) -> int:
    """How many steps `streams` takes."""
    return -(-shape[0] // batch_rows(shape, batch)) * model.config.layers


def streams(
    model: Model, tokens: Int32[np.ndarray, "N T"], batch: int | None, steps: Steps
) -> Iterator[tuple[slice, Float[Array, "B T d"]]]:
    """Windows in order, a batch at a time, and their residual stream behind the last layer.

    The last batch is filled up with rows that belong to no window.

    Args:
        model: the decoder.
        tokens: of the windows.
        batch: windows that go through a layer together; by default about 512 tokens.
        steps: told after every layer of every batch.

    Raises:
        ConfigurationError: windows longer than the model was made for.
        InterruptedRunError: the user has asked to stop.
    """
    params, config = model
    N, T = tokens.shape
    config.check_length(T)
    rows = batch_rows(tokens.shape, batch)
    dtype = params["norm"].dtype
    where = places(config, jnp.arange(T, dtype=jnp.int32)[None], T, dtype)
    held = max(1, _SLAB // (rows * T * config.d_model * dtype.itemsize)) * rows
    for slab in range(0, N, held):
        starts = range(slab, min(slab + held, N), rows)
        stream = [embed(params, _batch(tokens, start, rows)) for start in starts]
        for layer in params["layers"]:
            whole = unpacked(layer, dtype)
            for i, x in enumerate(stream):
                stream[i] = jax.block_until_ready(block(whole, config, x, where)[0])
                steps.step()
        for start, x in zip(starts, stream, strict=True):
            yield slice(start, min(start + rows, N)), x


def unpacked(layer: Params, dtype: jnp.dtype) -> Params:
    """A layer with plain matrices, for many products with each."""
    return {
        name: weight.dequantize(dtype) if isinstance(weight, PackedWeight) else weight
        for name, weight in layer.items()
    }


def _batch(tokens: np.ndarray, start: int, rows: int) -> Array:
    batch = np.zeros((rows, tokens.shape[1]), np.int32)
    given = tokens[start : start + rows]
    batch[: len(given)] = given
    return jnp.asarray(batch)
