"""The planar layout by a Pallas kernel, four codes at a time.

Four uint8 codes that are neighbours are read as one 32-bit word. The words of a row of codes are
cut into `lanes` of equal length; since planar packing never shifts neighbours against each other, a
word of a plane is lanes shifted and ored: no shuffle, and of a lane a program reads whole lines.
Codes of 8 and 16 bits are words as they are, and need no kernel.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt, UInt32

from compressors.kernels import triton
from compressors.kernels.pack import reference
from compressors.kernels.pack.layout import BYTE, Layout, in_planes, pieces, words_of


BLOCK = 512
"""Words of a lane that a program handles: with four warps, 16 bytes a thread."""

ALL_BYTES = 0x01010101


class Part(NamedTuple):
    """One word of a plane, for each word of a lane.

    Of every lane e = `lanes[i]` it holds the bits `low` … `low` + `width` − 1 of the codes, at the
    bit i·`width` of each byte. In a row of packed words it is number `part` of equal lengths.
    """

    width: int
    low: int
    part: int
    lanes: tuple[int, ...]


class Plan(NamedTuple):
    """How many lanes of which length (in words of four codes), and the parts made of them."""

    number: int
    length: int
    parts: tuple[Part, ...]


def plan(k: int, bits: int) -> Plan:
    """The plan of k codes of up to 7 bits.

    Codes of 1, 2 or 4 bits: one plane, whose byte m has the codes m + j·B, so that there are
    8/bits lanes. Others: eight lanes; a plane of width p is p parts, and in part q the codes of the
    lanes q, p + q, 2p + q, … lie on top of one another.
    """
    widths = pieces(bits)
    if len(widths) == 1:
        count = BYTE // bits
        return Plan(count, words_of(k, bits), (Part(bits, 0, 0, tuple(range(count))),))
    parts: list[Part] = []
    low = 0
    for width in widths:
        for q in range(width):
            parts.append(Part(width, low, len(parts), tuple(range(q, BYTE, width))))
        low += width
    return Plan(BYTE, k // 32, tuple(parts))


def join(lanes: list[UInt32[Array, "..."]], part: Part) -> UInt32[Array, "..."]:
    """A word of a plane from one word of each lane."""
    mask = jnp.uint32(((1 << part.width) - 1) * ALL_BYTES)
    word = (lanes[part.lanes[0]] >> part.low) & mask
    for i, e in enumerate(part.lanes[1:], 1):
        word |= ((lanes[e] >> part.low) & mask) << (i * part.width)
    return word


def split(words: list[UInt32[Array, "..."]], lane: int, parts: tuple[Part, ...]) -> Any:
    """A word of a lane from one word of each part."""
    total = jnp.zeros_like(words[0])
    for word, part in zip(words, parts, strict=True):
        if lane in part.lanes:
            shift = part.lanes.index(lane) * part.width
            mask = jnp.uint32(((1 << part.width) - 1) * ALL_BYTES)
            total |= ((word >> shift) & mask) << part.low
    return total


def check_width(name: str, bits: int, k: int, layout: Layout) -> None:
    """Raises `NotImplementedError` for what only XLA packs."""
    if layout != "planar":
        raise NotImplementedError(
            f"the kernel of {name} knows the planar layout, not {layout!r}: take the backend 'xla'"
        )
    if bits not in (1, 2, 3, 4, 5, 6, 7, 8, 16):
        raise NotImplementedError(
            f"the kernel of {name} serves codes of 1 to 8 and of 16 bits, not {bits}: take the "
            "backend 'xla'"
        )
    if in_planes(k, bits) != k:
        raise NotImplementedError(
            f"the kernel of {name} serves codes of {bits} bits in multiples of 32, not {k}: take "
            "the backend 'xla'"
        )


def check_pack(codes: UInt[Array, "*rows k"], bits: int, layout: Layout) -> None:
    """Raises `NotImplementedError` where the kernel does not serve."""
    check_width("pack", bits, codes.shape[-1], layout)
    triton.check_sizes("pack", codes)


def check_unpack(words: UInt32[Array, "*rows words"], bits: int, k: int, layout: Layout) -> None:
    """Raises `NotImplementedError` where the kernel does not serve."""
    check_width("unpack", bits, k, layout)
    shape = (*words.shape[:-1], k)
    triton.check_sizes("unpack", words, jax.ShapeDtypeStruct(shape, jnp.uint8))


def pack(
    codes: UInt[Array, "*rows k"], bits: int, layout: Layout, *, interpret: bool = False
) -> UInt32[Array, "*rows words"]:
    """The words; codes of other dtypes than uint8 are narrowed by XLA beforehand."""
    if bits >= BYTE or codes.size == 0:
        return reference.pack(codes, bits, layout)
    rows, k = codes.shape[:-1], codes.shape[-1]
    view = as_words(codes.astype(jnp.uint8).reshape(-1, k))
    p = plan(k, bits)
    count, size, out_size = view.shape[0], view.shape[1], words_of(k, bits)
    blocks = -(-p.length // BLOCK)

    def kernel(view_ref: Any, out_ref: Any) -> None:
        block, row = triton.place(blocks)
        w = block * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)
        lanes = [
            triton.load(view_ref, row * size + e * p.length + w, _inside(w, p.length, size, e))
            for e in range(p.number)
        ]
        for part in p.parts:
            at = row * out_size + part.part * p.length + w
            triton.store(out_ref, at, join(lanes, part), w < p.length)

    out = jax.ShapeDtypeStruct((count * out_size,), jnp.uint32)
    words = triton.call(
        kernel, view.reshape(-1), out=out, grid=(count * blocks,), interpret=interpret, name="pack"
    )
    return words.reshape(*rows, out_size)


def unpack(
    words: UInt32[Array, "*rows words"],
    bits: int,
    k: int,
    layout: Layout,
    *,
    interpret: bool = False,
) -> UInt[Array, "*rows k"]:
    """The codes, uint8; a last word of four codes that is not full costs one more copy."""
    rows = words.shape[:-1]
    if bits >= BYTE or words.size == 0:
        return reference.unpack(words, bits, k, layout)
    p, in_size, size = plan(k, bits), words.shape[-1], -(-k // 4)
    count, blocks = words.size // in_size, -(-p.length // BLOCK)

    def kernel(words_ref: Any, out_ref: Any) -> None:
        block, row = triton.place(blocks)
        w = block * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)
        parts = [
            triton.load(words_ref, row * in_size + part.part * p.length + w, w < p.length)
            for part in p.parts
        ]
        for e in range(p.number):
            at = row * size + e * p.length + w
            triton.store(out_ref, at, split(parts, e, p.parts), _inside(w, p.length, size, e))

    out = jax.ShapeDtypeStruct((count * size,), jnp.uint32)
    view = triton.call(
        kernel,
        words.reshape(-1),
        out=out,
        grid=(count * blocks,),
        interpret=interpret,
        name="unpack",
    )
    codes = jax.lax.bitcast_convert_type(view, jnp.uint8)
    return codes.reshape(count, 4 * size)[:, :k].reshape(*rows, k)


pack_interpreted = functools.partial(pack, interpret=True)
unpack_interpreted = functools.partial(unpack, interpret=True)


def as_words(codes: UInt[Array, "rows k"]) -> UInt32[Array, "rows fours"]:
    """uint8 codes, four in a word."""
    padded = jnp.pad(codes, [(0, 0), (0, -codes.shape[-1] % 4)])
    return jax.lax.bitcast_convert_type(padded.reshape(codes.shape[0], -1, 4), jnp.uint32)


def _inside(w: Array, length: int, size: int, lane: int) -> Array:
    """Which words of a lane the row has."""
    return (w < length) & (lane * length + w < size)
