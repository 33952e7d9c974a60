"""The forward pass of a Llama-family decoder, with and without a cache of keys and values.

A layer adds two branches to the residual stream x:

    1. x ← x + W_o attention(W_q n, W_k n, W_v n),  n = RMSNorm(x), queries and keys rotated
    2. x ← x + W_down (silu(W_gate m) ⊙ W_up m),    m = RMSNorm(x)

and logits are the head times RMSNorm(x). Activations have the dtype of the norms' weights, whatever
the matrices are stored as: a matrix of a layer may be an array or a `PackedWeight`. Norms,
rotations, the softmax and the logits are at least float32. Products of float32 keep float32 on
every device, where a GPU's default would round them to TensorFloat-32.

What is compiled is one layer, which all of them share: a model of 30 layers starts 30 times sooner
than as one program. Where packed matrices make more than a few kinds of layers, those are compiled
by parts, which are shared by shape and format. Under a caller's jit all becomes part of that.

Source: Touvron et al., "LLaMA", arXiv 2302.13971; grouped queries: Ainslie et al., arXiv
2305.13245; RMSNorm: Zhang, Sennrich, arXiv 1910.07467; SwiGLU: Shazeer, arXiv 2002.05202.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from compressors.kernels.windows import by_rows
from compressors.weights import Coding, PackedWeight
from dopt.models.attention import EXACT, attention, wide
from dopt.models.config import Config
from dopt.models.parameters import Params
from dopt.models.rope import rotate, rotations


INPUT_OF = {
    "q": "attention",
    "k": "attention",
    "v": "attention",
    "o": "output",
    "gate": "mlp",
    "up": "mlp",
    "down": "down",
}
"""The matrices of a layer, and which of its four inputs each is applied to."""

MOST_PROGRAMS = 4
"""Of whole layers, each of which takes seconds to compile."""

_WIDENED = 1 << 22
"""Numbers of a narrow head that are widened at once: 16 MiB of float32."""


class Cache(NamedTuple):
    """Keys and values of the tokens so far, each row of the batch with a length of its own."""

    keys: list[Float[Array, "B capacity kv_heads size"]]
    """By layer, rotated."""
    values: list[Float[Array, "B capacity kv_heads size"]]
    lengths: Int[Array, " B"]
    """Tokens of each row; what lies behind them is never read."""


class Places(NamedTuple):
    """Where the tokens of a batch stand, and what they are rotated by."""

    positions: Int[Array, "#B T"]
    cosines: Float[Array, "#B T half"]
    sines: Float[Array, "#B T half"]


def empty_cache(config: Config, rows: int, capacity: int, dtype: Any) -> Cache:
    """A cache of no tokens with room for `capacity` in each row."""
    shape = (rows, capacity, config.kv_heads, config.head_size)
    blank = [jnp.zeros(shape, dtype) for _ in range(config.layers)]
    return Cache(blank, list(blank), jnp.zeros(rows, jnp.int32))


def logits(
    params: Params, config: Config, tokens: Int[Array | np.ndarray, "B T"]
) -> Float[Array, "B T vocabulary"]:
    """The logits of the token that follows each token.

    A token outside of the vocabulary makes its row NaN.

    Raises:
        ConfigurationError: more tokens than the model was made for.
    """
    config.check_length(tokens.shape[1])
    tokens = jnp.asarray(tokens, jnp.int32)
    x, T = embed(params, tokens), tokens.shape[1]
    where = places(config, jnp.arange(T, dtype=jnp.int32)[None], T, x.dtype)
    program = _program(params["layers"])
    for layer in params["layers"]:
        x, _, _ = program(layer, config, x, where, None)
    return head(params, config, x)


def prefill(
    params: Params,
    config: Config,
    tokens: Int[Array | np.ndarray, "B T"],
    lengths: Int[Array | np.ndarray, " B"],
    capacity: int,
) -> tuple[Float[Array, "B vocabulary"], Cache]:
    """The logits behind each row's last token, and the cache to go on from.

    Args:
        params: of the model.
        config: of the model.
        tokens: rows of prompts; shorter ones are filled up behind their end with any token.
        lengths: tokens of each row that count, at least one.
        capacity: tokens that the cache has room for, prompt included.

    Raises:
        ConfigurationError: more tokens than the model was made for.
    """
    config.check_length(tokens.shape[1])
    cache = empty_cache(config, tokens.shape[0], capacity, params["norm"].dtype)
    tokens, lengths = jnp.asarray(tokens, jnp.int32), jnp.asarray(lengths, jnp.int32)
    return _extend(params, config, tokens, lengths, cache)


def decode_step(
    params: Params, config: Config, tokens: Int[Array, " B"], cache: Cache
) -> tuple[Float[Array, "B vocabulary"], Cache]:
    """The logits behind one more token in each row; NaN in a row whose cache has no room left."""
    counts = jnp.ones_like(cache.lengths)
    return _extend(params, config, tokens[:, None].astype(jnp.int32), counts, cache)


def embed(params: Params, tokens: Int[Array, "B T"]) -> Float[Array, "B T d"]:
    """The residual stream in front of the first layer."""
    return _looked_up(params["embedding"], tokens, params["norm"].dtype)


def block(
    layer: Params,
    config: Config,
    x: Float[Array, "B T d"],
    places: Places,
    past: tuple[Array, Array] | None = None,
) -> tuple[Float[Array, "B T d"], tuple[Array, Array]]:
    """One layer.

    Args:
        layer: its parameters.
        config: of the model.
        x: the residual stream.
        places: of the tokens, from `places`.
        past: keys and values [B, S, kv_heads, size] into which those of the tokens are written.

    Returns:
        The residual stream behind the layer, and the keys and values, `past` included.
    """
    following, kept, _ = _lone_program(layer)(layer, config, x, places, past)
    return following, kept


def block_with_inputs(
    layer: Params, config: Config, x: Float[Array, "B T d"], places: Places
) -> tuple[Float[Array, "B T d"], dict[str, Float[Array, "B T inputs"]]]:
    """The residual stream behind a layer, and what its matrices are applied to, by `INPUT_OF`."""
    following, _, inputs = _lone_program(layer)(layer, config, x, places, None)
    return following, inputs


@partial(jax.jit, static_argnames="config")
def head(params: Params, config: Config, x: Float[Array, "*b d"]) -> Float[Array, "*b vocabulary"]:
    """The logits of the residual stream behind the last layer, in float32 or wider."""
    weight = params["embedding" if config.tied else "head"]
    normed = rms_norm(x, params["norm"], config)
    if isinstance(weight, PackedWeight):
        return weight.times(normed.astype(wide(x.dtype)))
    if weight.dtype == x.dtype:
        return _logits(normed, weight)
    # A narrower head is widened a window at a time: a wide copy would be the largest array of all.
    flat = normed.reshape(-1, x.shape[-1])
    rows = max(1, _WIDENED // x.shape[-1])
    transposed = by_rows(lambda part: _logits(flat, part.astype(x.dtype)).T, (weight,), rows)
    return transposed.T.reshape(*x.shape[:-1], -1)


@partial(jax.jit, static_argnames=("config", "keys", "dtype"))
def places(config: Config, positions: Int[Array, "#B T"], keys: int, dtype: Any) -> Places:
    """What a token at each position, one of the first `keys`, is rotated by."""
    cosines, sines = rotations(config, keys, wide(dtype))
    return Places(positions, cosines[positions], sines[positions])


def project(
    x: Float[Array, "*b i"], weight: Float[Array, "o i"] | PackedWeight
) -> Float[Array, "*b o"]:
    """W x, in the dtype of x."""
    if isinstance(weight, PackedWeight):
        return weight.times(x)
    return _matmul(x, weight)


@jax.jit
def _matmul(x: Array, weight: Array) -> Array:
    return jnp.matmul(x, weight.astype(x.dtype).T, precision=EXACT)


@partial(jax.jit, static_argnames="config")
def rms_norm(
    x: Float[Array, "*b d"], weight: Float[Array, " d"], config: Config
) -> Float[Array, "*b d"]:
    """RMSNorm along the last axis: x / √(mean x² + ε) ⊙ weight."""
    y = x.astype(wide(x.dtype))
    scale = jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + config.norm_eps)
    factors = weight.astype(y.dtype).reshape((1,) * (x.ndim - 1) + weight.shape)
    return (y * scale * factors).astype(x.dtype)


@partial(jax.jit, static_argnames="dtype")
def _looked_up(embedding: Array | PackedWeight, tokens: Array, dtype: Any) -> Array:
    if not isinstance(embedding, PackedWeight):
        return jnp.take(embedding, tokens, axis=0, mode="fill").astype(dtype)
    rows = embedding.rows(jnp.clip(tokens.reshape(-1), 0, embedding.shape[0] - 1)).dequantize(dtype)
    known = (tokens >= 0) & (tokens < embedding.shape[0])
    return jnp.where(known[..., None], rows.reshape(*tokens.shape, -1), jnp.nan)


def _logits(normed: Float[Array, "*b d"], weight: Float[Array, "v d"]) -> Float[Array, "*b v"]:
    return jnp.matmul(normed, weight.T, precision=EXACT, preferred_element_type=wide(normed.dtype))


def _parts(
    layer: Params, config: Config, x: Array, places: Places, past: tuple[Array, Array] | None
) -> tuple[Array, tuple[Array, Array], dict[str, Array]]:
    """One layer: the stream behind it, its keys and values, and the inputs of its matrices."""
    inputs = {"attention": rms_norm(x, layer["attention_norm"], config)}

    def product(name: str) -> Array:
        return project(inputs[INPUT_OF[name]], layer[name])

    small = {name: array for name, array in layer.items() if name not in INPUT_OF}
    q, k, v = product("q"), product("k"), product("v")
    inputs["output"], kept = _attended(small, config, q, k, v, places, past)
    x = _sum(x, product("o"))
    inputs["mlp"] = rms_norm(x, layer["mlp_norm"], config)
    inputs["down"] = _gated(product("gate"), product("up"))
    return _sum(x, product("down")), kept, inputs


_whole = partial(jax.jit, static_argnames="config")(_parts)


def _program(layers: Sequence[Params]) -> Callable[..., Any]:
    """What each of these layers runs by: as one program, or by parts where formats differ much.

    Programs of single matrices are shared where those of layers would not be.
    """
    return _whole if len({_formats(layer) for layer in layers}) <= MOST_PROGRAMS else _parts


def _lone_program(layer: Params) -> Callable[..., Any]:
    """What a layer runs by whose companions are not known: by parts where matrices are packed."""
    return _parts if any(_formats(layer)) else _whole


def _formats(layer: Params) -> tuple[Coding | None, ...]:
    """Of the layer's matrices; None for those that are not packed."""
    weights = [layer[name] for name in INPUT_OF]
    return tuple(w.coding if isinstance(w, PackedWeight) else None for w in weights)


@partial(jax.jit, static_argnames="config")
def _attended(
    small: Params,
    config: Config,
    q: Array,
    k: Array,
    v: Array,
    places: Places,
    past: tuple[Array, Array] | None,
) -> tuple[Array, tuple[Array, Array]]:
    """The attention to keys and values, which are returned; `small` are biases and norms."""
    B, T, _ = q.shape

    def heads(name: str, y: Array) -> Array:
        if config.qkv_bias:
            y = y + small[f"{name}_bias"].astype(y.dtype)[None, None]
        return y.reshape(B, T, -1, config.head_size)

    q, k, v = heads("q", q), heads("k", k), heads("v", v)
    if config.qk_norm:
        q, k = rms_norm(q, small["q_norm"], config), rms_norm(k, small["k_norm"], config)
    q, k = (rotate(a, places.cosines, places.sines) for a in (q, k))
    if past is not None:
        rows = jnp.arange(B)[:, None]
        k = past[0].at[rows, places.positions].set(k.astype(past[0].dtype))
        v = past[1].at[rows, places.positions].set(v.astype(past[1].dtype))
    return attention(q, k, v, places.positions), (k, v)


@jax.jit
def _gated(gate: Array, up: Array) -> Array:
    return jax.nn.silu(gate) * up


@jax.jit
def _sum(x: Array, y: Array) -> Array:
    return x + y


def _extend(
    params: Params, config: Config, tokens: Array, counts: Array, cache: Cache
) -> tuple[Array, Cache]:
    """Appends the first `counts` tokens of each row."""
    x = embed(params, tokens)
    capacity = cache.keys[0].shape[1]
    where = places(config, _positions(cache.lengths, tokens.shape[1]), capacity, x.dtype)
    program = _program(params["layers"])
    keys, values = [], []
    for layer, *past in zip(params["layers"], cache.keys, cache.values, strict=True):
        x, (k, v), _ = program(layer, config, x, where, (past[0], past[1]))
        keys.append(k)
        values.append(v)
    last = head(params, config, _last(x, counts))
    lengths, last = _grown(cache.lengths, counts, last, capacity)
    return last, Cache(keys, values, lengths)


@partial(jax.jit, static_argnames="T")
def _positions(lengths: Array, T: int) -> Array:
    return lengths[:, None] + jnp.arange(T, dtype=jnp.int32)[None]


@jax.jit
def _last(x: Array, counts: Array) -> Array:
    return jnp.take_along_axis(x, (counts - 1)[:, None, None], axis=1)[:, 0]


@partial(jax.jit, static_argnames="capacity")
def _grown(lengths: Array, counts: Array, last: Array, capacity: int) -> tuple[Array, Array]:
    """New lengths, and logits made NaN where JAX dropped a write behind the cache's end."""
    lengths = lengths + counts
    return lengths, jnp.where((lengths > capacity)[:, None], jnp.nan, last)
