"""Products with a packed weight matrix in plain `jnp`, a window of its rows at a time."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, UInt32

from compressors.kernels.pack import unpack
from compressors.kernels.windows import by_rows


WINDOW = 1 << 18
"""Weights in a window: a MiB of float32."""


def run(
    x: Float[Array, "m k"],
    words: UInt32[Array, "out words"],
    scales: Float[Array, "out groups"],
    zeros: Float[Array, "out groups"] | None,
    table: Float[Array, " points"] | None,
    *,
    bits: int,
) -> Float[Array, "m out"]:
    """x·Wᵀ, with the float32 matrix of one window at a time."""
    rows = max(1, WINDOW // max(x.shape[1], 1))
    given = (words, scales) if zeros is None else (words, scales, zeros)
    points = None if table is None else table.astype(x.dtype).astype(jnp.float32)
    work = partial(_products, x=x.astype(jnp.float32), table=points, bits=bits)
    return by_rows(work, given, rows).T.astype(x.dtype)


def _products(
    words: UInt32[Array, "rows words"],
    scales: Float[Array, "rows groups"],
    zeros: Float[Array, "rows groups"] | None = None,
    *,
    x: Float32[Array, "m k"],
    table: Float[Array, " points"] | None,
    bits: int,
) -> Float32[Array, "rows m"]:
    """Of some rows of W with those of `x`."""
    rows, groups = scales.shape
    codes = unpack(words, bits, x.shape[1], backend="xla")
    values = codes.astype(jnp.float32) if table is None else table[codes.astype(jnp.int32)]
    values = values.reshape(rows, groups, -1)
    if zeros is not None:
        values = values - zeros.astype(jnp.float32)[:, :, None]
    weights = (values * scales.astype(jnp.float32)[:, :, None]).reshape(rows, -1)
    return jnp.matmul(weights, x.T, precision=jax.lax.Precision.HIGHEST)
