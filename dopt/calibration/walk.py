"""H = XᵀX of the inputs of every layer, layer by layer.

    1. Embed the tokens: the residual stream in front of layer 0.
    2. For each layer, batch by batch: push the stream through the layer, and add XᵀX of each of its
       four inputs (of q, k and v; of o; of gate and up; of down) to H.
    3. Show the layer and its H to a visitor. Where it gives another layer, such as a compressed
       one, push the stream through that one instead, so that later layers see what their inputs
       will be. So does GPTQ (Frantar et al., arXiv 2210.17323); within a layer the four inputs are
       those of the layer before it was changed.

H is the sum over all tokens, not the mean. Products of a batch are float32 at full precision (or
float64, in a model of float64), sums over batches float64 on the host. With 1024 tokens a batch the
largest error of an entry, over √(H_ii·H_jj), was 5·10⁻⁷ of a product in float64, which took twice
the time.

What is held beside the model is the stream in front of a layer and that behind it, one layer's H,
and one batch. In a folder the streams are files mapped into memory, and the H of every layer stays
on disk: 8 bytes for every pair of inputs, 27 MB a layer for SmolLM2-135M.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dopt.calibration.kept import Hessians, Stream, Told, stream_in
from dopt.calibration.windows import check_calibration
from dopt.errors import DataError
from dopt.evaluation.forward import batch_rows, unpacked
from dopt.evaluation.steps import OnProgress, Steps, Stopping
from dopt.models.config import Config
from dopt.models.decoder import Places, block, block_with_inputs, embed, places
from dopt.models.fingerprint import fingerprint
from dopt.models.parameters import Model, Params


Visit = Callable[[int, Params, Hessians], Params | None]
"""Given the layer's number, its parameters and its H; the layer to go on with, None for the same.

In a walk that goes on after a kill it is not called for finished layers, and may be called again
for the one behind them: what it keeps must be safe on disk when it returns.
"""


class Walked(NamedTuple):
    """What a walk says of itself."""

    tokens: int
    """In the sums H."""
    dead: list[dict[str, int]]
    """Of each layer and input, how many coordinates were zero at every token."""


def walk(
    model: Model,
    tokens: Int[np.ndarray, "N T"],
    visit: Visit,
    *,
    folder: str | Path | None = None,
    purpose: str = "",
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
) -> Walked:
    """Shows every layer with its Hessians to a visitor, and goes on with what it gives.

    Args:
        model: the decoder.
        tokens: windows to calibrate on, such as `calibration_windows` cuts.
        visit: see `Visit`.
        folder: where a killed walk goes on, with the same numbers.
        purpose: what the visitor does with layers, in words or as a fingerprint; a folder is of one
            purpose.
        batch: windows that go through a layer together; by default about 512 tokens.
        on_progress: told how many batches of all layers were measured, and of how many.
        stopping: asked after every batch.

    Raises:
        ConfigurationError: tokens that the model does not have, or too many of them in a row; a
            folder of another model, of other tokens or of another purpose.
        DataError: a damaged folder, or inputs of a layer that are NaN or infinite.
        InterruptedRunError: the user has asked to stop.
        DoptError: another process walks in the folder, or the disk refuses.
    """
    params, config = model
    check_calibration(tokens, config.vocabulary)
    N, T = tokens.shape
    config.check_length(T)
    rows = batch_rows(tokens.shape, batch)
    dtype = params["norm"].dtype
    told = {} if folder is None else _told(model, tokens, rows, purpose)
    kept = "nothing is kept" if folder is None else "finished layers are kept; walk again to go on"
    with stream_in(folder, told, (N, T, config.d_model), _at_least_float32(dtype)) as stream:
        parts = [slice(start, start + rows) for start in range(0, N, rows)]
        where = places(config, jnp.arange(T, dtype=jnp.int32)[None], T, dtype)
        through = _Through(config, where, stream, parts, dtype)
        steps = Steps(config.layers * len(parts), on_progress, stopping, kept)
        steps.done = stream.finished * len(parts)
        if stream.finished == 0:
            for part in parts:
                stream.front[part] = embed(params, jnp.asarray(tokens[part], jnp.int32))
        for i in range(stream.finished, config.layers):
            layer = params["layers"][i]
            hessians = through.measured(layer, steps)
            dead = _dead(i, hessians)
            changed = visit(i, layer, hessians)
            if changed is not None:
                through.push(changed)
            stream.finish(hessians, dead)
        return Walked(N * T, stream.dead)


class _Through(NamedTuple):
    """What of a layer to the next stays the same."""

    config: Config
    where: Places
    stream: Stream
    parts: list[slice]
    dtype: Any

    def measured(self, layer: Params, steps: Steps) -> Hessians:
        """The sums of XᵀX; the stream behind the layer is filled on the way."""
        whole = unpacked(layer, self.dtype)
        hessians: Hessians = {}
        for part in self.parts:
            x, inputs = block_with_inputs(whole, self.config, self._front(part), self.where)
            for name, product in _products(inputs).items():
                if name not in hessians:
                    hessians[name] = np.zeros(product.shape)
                hessians[name] += np.asarray(product)
            self.stream.behind[part] = x
            steps.step()
        return hessians

    def push(self, layer: Params) -> None:
        """Fills the stream behind a layer."""
        whole = unpacked(layer, self.dtype)
        for part in self.parts:
            self.stream.behind[part] = block(whole, self.config, self._front(part), self.where)[0]

    def _front(self, part: slice) -> Float[Array, "B T d"]:
        return jnp.asarray(self.stream.front[part], self.dtype)


@jax.jit
def _products(inputs: dict[str, Float[Array, "B T i"]]) -> dict[str, Float[Array, "i i"]]:
    """XᵀX of a batch of each input, in float32 or wider."""

    def product(x: Array) -> Array:
        X = x.reshape(-1, x.shape[-1]).astype(_at_least_float32(x.dtype))
        return jnp.matmul(X.T, X, precision=jax.lax.Precision.HIGHEST)

    return {name: product(x) for name, x in inputs.items()}


def _at_least_float32(dtype: Any) -> np.dtype:
    return np.dtype(np.float32 if dtype.itemsize < 4 else dtype)


def _dead(i: int, hessians: Hessians) -> dict[str, int]:
    """How many coordinates of each input were always zero."""
    for name, H in hessians.items():
        if not np.isfinite(H).all():
            raise DataError(
                f"the {name} inputs of layer {i} are NaN or infinite; the model, or what the "
                "layers in front were changed to, is broken"
            )
    return {name: int(np.count_nonzero(np.diag(H) == 0)) for name, H in hessians.items()}


def _told(model: Model, tokens: Int[np.ndarray, "N T"], rows: int, purpose: str) -> Told:
    """What a folder is of; the width of batches too, as sums are rounded by it."""
    content = np.ascontiguousarray(tokens, np.int64).tobytes()
    return {
        "layers": model.config.layers,
        "model": f"{model.config} {fingerprint(model.params)}",
        "tokens": f"{tokens.shape} {hashlib.sha256(content).hexdigest()}",
        "batch": rows,
        "purpose": purpose,
    }
