"""Attention of grouped queries, a few of them at a time, so that long texts need little memory.

Source: Ainslie et al., "GQA", arXiv 2305.13245.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


EXACT = jax.lax.Precision.HIGHEST
"""Products of float32 stay in float32, where a GPU's default would round to TensorFloat-32."""

MOST_SCORES = 2**24
"""Scores that are held at once: 64 MiB in float32."""


def attention(
    q: Float[Array, "B T heads size"],
    k: Float[Array, "B S kv_heads size"],
    v: Float[Array, "B S kv_heads size"],
    positions: Int[Array, "#B T"],
) -> Float[Array, "B T heads*size"]:
    """The softmax of q·k/√size over the keys that are seen, times their values.

    Args:
        q: queries.
        k: keys, those of position 0 first.
        v: values.
        positions: of the queries; each sees the keys up to its own position.
    """
    B, T, H, _ = q.shape
    chunks = -(-B * H * T * k.shape[1] // MOST_SCORES)
    if chunks == 1:
        return _attention(q, k, v, positions)
    size = -(-T // min(chunks, T))
    count = -(-T // size)

    def cut(a: Array) -> Array:
        """[B, T, …] as [count, B, size, …]; what is filled up sees key 0, and is cut away."""
        filled = jnp.pad(a, ((0, 0), (0, count * size - T)) + ((0, 0),) * (a.ndim - 2))
        return filled.reshape(a.shape[0], count, size, *a.shape[2:]).swapaxes(0, 1)

    out = jax.lax.map(lambda part: _attention(part[0], k, v, part[1]), (cut(q), cut(positions)))
    return out.swapaxes(0, 1).reshape(B, count * size, -1)[:, :T]


def wide(dtype: Any) -> Any:
    """The dtype in which sums are formed: float32 at least."""
    return jnp.dtype(dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.float32)


def _attention(q: Array, k: Array, v: Array, positions: Array) -> Array:
    B, T, H, size = q.shape
    K = k.shape[2]
    grouped = q.reshape(B, T, K, H // K, size)
    scores = jnp.einsum(
        "btkgd,bskd->bkgts", grouped, k, precision=EXACT, preferred_element_type=wide(q.dtype)
    )
    seen = jnp.arange(k.shape[1], dtype=jnp.int32)[None, None, :] <= positions[:, :, None]
    scores = jnp.where(seen[:, None, None], scores / size**0.5, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("bkgts,bskd->btkgd", weights, v, precision=EXACT).reshape(B, T, H * size)
