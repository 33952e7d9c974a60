"""Packed integers in plain `jnp`: what runs on a CPU. `layout.py` says where each bit lies."""

import math
from functools import reduce
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt, UInt32

from compressors.kernels.pack.layout import (
    BYTE,
    WORD,
    Layout,
    code_dtype,
    in_planes,
    pieces,
    words_of,
)


def pack(codes: UInt[Array, "*rows k"], bits: int, layout: Layout) -> UInt32[Array, "*rows words"]:
    """The words of `codes`."""
    k = codes.shape[-1]
    if layout == "sequential":
        return _pack_sequential(codes, bits)
    planes = in_planes(k, bits)
    parts, low = [], 0
    for piece in pieces(bits):
        if planes:
            parts.append(_pack_plane(codes[..., :planes] >> low, piece))
        low += piece
    if planes < k or k == 0:
        parts.append(_pack_sequential(codes[..., planes:], bits))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def unpack(
    words: UInt32[Array, "*rows words"], bits: int, k: int, layout: Layout
) -> UInt[Array, "*rows k"]:
    """The k codes of `words`."""
    if layout == "sequential":
        return _unpack_sequential(words, bits, k)
    planes, start, low = in_planes(k, bits), 0, 0
    stacked = []
    for piece in pieces(bits):
        end = start + words_of(planes, piece)
        stacked.append((_unpack_plane(words[..., start:end], piece, planes), low))
        start, low = end, low + piece
    # Every reader of a code would join its planes anew, but XLA keeps parts that lie side by side.
    halves = len(stacked) > 1 and math.prod(words.shape[:-1]) > 1
    cuts = [0, planes // 2, planes] if halves else [0, planes]
    parts = [_joined(stacked, begin, end, code_dtype(bits)) for begin, end in pairwise(cuts)]
    if planes < k:
        parts.append(_unpack_sequential(words[..., start:], bits, k - planes))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def _joined(
    planes: list[tuple[UInt[Array, "*rows k"], int]], begin: int, end: int, dtype: Any
) -> UInt[Array, "*rows part"]:
    """The codes from `begin` to `end` of planes, each with the lowest bit that it holds."""
    return reduce(
        jnp.bitwise_or, [plane[..., begin:end].astype(dtype) << low for plane, low in planes]
    )


def _pack_plane(codes: UInt[Array, "*rows k"], piece: int) -> UInt32[Array, "*rows words"]:
    """The plane of the lowest `piece` bits of each code, a power of two."""
    k = codes.shape[-1]
    words = words_of(k, piece)
    codes = codes.astype(code_dtype(piece))
    if piece >= BYTE:
        return _as_words(_padded(codes, words * WORD // piece))
    shares, size = BYTE // piece, words * WORD // BYTE
    mask = codes.dtype.type((1 << piece) - 1)
    lanes = _padded(codes, shares * size).reshape(*codes.shape[:-1], shares, size)
    total = lanes[..., 0, :] & mask
    for j in range(1, shares):
        # The last lane needs no mask: what is too high is shifted out of the byte.
        lane = lanes[..., j, :] if j == shares - 1 else lanes[..., j, :] & mask
        total |= lane << (j * piece)
    # Bytes are joined to words in a pass of their own: fused, the shifts would not vectorise.
    return _as_words(jax.lax.optimization_barrier(total))


def _unpack_plane(
    words: UInt32[Array, "*rows words"], piece: int, k: int
) -> UInt[Array, "*rows k"]:
    """The inverse of `_pack_plane`."""
    rows = words.shape[:-1]
    if piece == WORD:
        return words
    if piece >= BYTE:
        dtype = code_dtype(piece)
        return jax.lax.bitcast_convert_type(words, dtype).reshape(*rows, -1)[..., :k]
    data = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(*rows, -1)
    mask = jnp.uint8((1 << piece) - 1)
    if piece > 1:
        lanes = [(data >> shift) & mask for shift in range(0, BYTE, piece)]
        return jnp.concatenate(lanes, axis=-1)[..., :k]
    # XLA on a CPU joins eight arrays slowly. Of a single row a loop writes them one after another;
    # of many, one pass over all bits is faster.
    data = jax.lax.optimization_barrier(data)
    shifts = jnp.arange(BYTE, dtype=jnp.uint8)
    if math.prod(rows) > 1:
        lanes = data[..., None, :] >> shifts.reshape((1,) * len(rows) + (BYTE, 1))
        return (lanes & mask).reshape(*rows, -1)[..., :k]
    lanes = jax.lax.map(lambda shift: (data >> shift) & mask, shifts)
    return jnp.moveaxis(lanes, 0, -2).reshape(*rows, -1)[..., :k]


def _as_words(codes: UInt[Array, "*rows k"]) -> UInt32[Array, "*rows words"]:
    """Bytes, or halves of words, in words; `bitcast_convert_type` is slower than shifts."""
    share = 4 // codes.dtype.itemsize
    lanes = codes.astype(jnp.uint32).reshape(*codes.shape[:-1], -1, share)
    words = lanes[..., 0]
    for j in range(1, share):
        words |= lanes[..., j] << (j * WORD // share)
    return words


def _pack_sequential(codes: UInt[Array, "*rows k"], bits: int) -> UInt32[Array, "*rows words"]:
    """The layout repeats every lcm(bits, 32) bits: `period` codes fill exactly `span` words.

    Within a period all positions are static, so packing is shifts and ors of columns: no scatter,
    no gather. Where `bits` divides 32 a period is one word, and the shifts are one row, which
    vectorises.
    """
    k, (period, span) = codes.shape[-1], _period(bits)
    mask = jnp.uint32((1 << bits) - 1)
    lanes = _in_rows(codes.astype(jnp.uint32), period)
    if span == 1:
        return jnp.sum((lanes & mask) << _shifts(bits, lanes.ndim), axis=-1, dtype=jnp.uint32)
    columns = jnp.unstack(lanes, axis=-1)
    words = [jnp.zeros_like(columns[0]) for _ in range(span)]
    for i, column in enumerate(columns):
        code = column & mask
        word, shift = divmod(i * bits, WORD)
        words[word] |= code << shift
        if shift + bits > WORD:
            words[word + 1] |= code >> (WORD - shift)
    flat = jnp.stack(words, axis=-1).reshape(*codes.shape[:-1], -1)
    return flat[..., : words_of(k, bits)]


def _unpack_sequential(
    words: UInt32[Array, "*rows words"], bits: int, k: int
) -> UInt[Array, "*rows k"]:
    """The inverse of `_pack_sequential`."""
    rows, (period, span) = words.shape[:-1], _period(bits)
    mask, dtype = jnp.uint32((1 << bits) - 1), code_dtype(bits)
    if 0 < k < period:
        return (_straddling(words, bits, k) & mask).astype(dtype)
    if span == 1:
        codes = (words[..., None] >> _shifts(bits, words.ndim + 1)) & mask
        return codes.astype(dtype).reshape(*rows, words.shape[-1] * period)[..., :k]
    columns = jnp.unstack(_in_rows(words, span), axis=-1)
    codes = []
    for i in range(period):
        word, shift = divmod(i * bits, WORD)
        code = columns[word] >> shift
        if shift + bits > WORD:
            code |= columns[word + 1] << (WORD - shift)
        codes.append((code & mask).astype(dtype))
    return jnp.stack(codes, axis=-1).reshape(*rows, period * columns[0].shape[-1])[..., :k]


def _straddling(words: UInt32[Array, "*rows words"], bits: int, k: int) -> UInt32[Array, "*rows k"]:
    """The words shifted so that codes are lowest, for a few codes: no pass for each of them."""
    places = np.arange(0, k * bits, bits, dtype=np.uint32)
    low, shifts = places // WORD, places % WORD
    high = np.minimum(low + 1, words.shape[-1] - 1)
    lines = (1,) * (words.ndim - 1) + (k,)
    shift, straddles = shifts.reshape(lines), (shifts + bits > WORD).reshape(lines)
    above = jnp.where(straddles, words[..., high] << (WORD - shift) % WORD, 0)
    return (words[..., low] >> shift) | above


def _period(bits: int) -> tuple[int, int]:
    """How many codes fill how many words exactly."""
    common = math.gcd(bits, WORD)
    return WORD // common, bits // common


def _padded(array: UInt[Array, "*rows size"], size: int) -> UInt[Array, "*rows longer"]:
    """Zeros at the end of each row."""
    spare = size - array.shape[-1]
    return jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, spare)]) if spare else array


def _in_rows(array: UInt[Array, "*rows size"], width: int) -> UInt[Array, "*rows periods width"]:
    """The entries of each row in rows of `width`, padded with zeros."""
    periods = -(-array.shape[-1] // width)
    return _padded(array, periods * width).reshape(*array.shape[:-1], periods, width)


def _shifts(bits: int, axes: int) -> UInt32[Array, "..."]:
    """Where the codes of one word begin, along the last of so many axes."""
    return jnp.arange(0, WORD, bits, dtype=jnp.uint32).reshape((1,) * (axes - 1) + (-1,))
