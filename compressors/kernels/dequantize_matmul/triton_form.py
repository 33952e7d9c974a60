"""Products with a packed weight matrix as a Pallas kernel by the Triton lowering.

A program takes `ROWS` rows of W and a part of their bytes. The codes that share bytes meet as many
parts of x, and nothing is shuffled (`shares`). Codes become floats in registers, exactly, as the
lowest bits of a float's significand; tensor cores multiply a tile of them with x and add in
float32; scales and zeros are applied to these sums, each of one group:

    y += s·(Σ code·x − z·Σ x)
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from compressors.kernels import triton
from compressors.kernels.shares import Shares


NAME = "dequantize_matmul"
DTYPES = ("bfloat16", "float16", "float32")
VECTORS = 16
"""Rows of x: what one product on tensor cores takes."""

ROWS = 32
LEAST_DEPTH, MOST_DEPTH = 16, 128
"""Codes of a share that are multiplied at once."""

PROGRAMS = 1024
"""Enough for some 130 processors: rows are cut into parts until there are so many."""


class Significand(NamedTuple):
    """A float is `base` plus the number in its lowest `bits` bits, if the others are `pattern`."""

    word: Any
    float: Any
    pattern: int
    base: int
    bits: int


FLOAT32 = Significand(jnp.uint32, jnp.float32, 0x4B000000, 2**23, 23)
SIGNIFICANDS = {
    "bfloat16": Significand(jnp.uint16, jnp.bfloat16, 0x4300, 2**7, 7),
    "float16": Significand(jnp.uint16, jnp.float16, 0x6400, 2**10, 10),
    "float32": FLOAT32,
}


class Plan(NamedTuple):
    """How a product of `out` rows of k codes in `groups` groups is cut."""

    out: int
    k: int
    groups: int
    bits: int

    @property
    def shares(self) -> Shares:
        """Of the codes of a row."""
        return Shares(self.k, self.bits)

    @property
    def depth(self) -> int:
        """Codes of a share that are multiplied at once: the largest power of two that fits."""
        common = math.gcd(self.k // self.groups, self.shares.span)
        return min(common & -common, MOST_DEPTH)

    @property
    def parts(self) -> int:
        """Into how many parts shares are cut: a divisor of their number of steps."""
        steps = self.shares.span // self.depth
        wanted = min(-(-PROGRAMS // -(-self.out // ROWS)), steps)
        return next(parts for parts in range(wanted, steps + 1) if steps % parts == 0)

    @property
    def steps(self) -> int:
        """Of a program, in each share."""
        return self.shares.span // self.depth // self.parts


def check(
    x: Float[Array, "m k"],
    words: UInt32[Array, "out words"],
    scales: Float[Array, "out groups"],
    zeros: Float[Array, "out groups"] | None,
    table: Float[Array, " points"] | None,
    *,
    bits: int,
) -> None:
    """Raises `NotImplementedError` for what the kernel does not take."""
    m, k = x.shape
    triton.check_sizes(NAME, jax.ShapeDtypeStruct((4 * words.size,), jnp.uint8))
    if m > VECTORS or x.dtype.name not in DTYPES:
        raise NotImplementedError(
            f"the Triton kernel of {NAME} takes up to {VECTORS} rows of {', '.join(DTYPES)}, not "
            f"{m} of {x.dtype}: for more, dequantize once and multiply, or take the backend 'xla'"
        )
    groups, count = scales.shape[1], Shares(k, bits).number
    if k % count or Plan(words.shape[0], k, groups, bits).depth < LEAST_DEPTH:
        raise NotImplementedError(
            f"the Triton kernel of {NAME} takes groups of multiples of {LEAST_DEPTH} weights, and "
            f"rows of multiples of {LEAST_DEPTH * count} at {bits} bits, not groups of "
            f"{k // groups} and rows of {k}: pad the rows, or take the backend 'xla'"
        )


def run(
    x: Float[Array, "m k"],
    words: UInt32[Array, "out words"],
    scales: Float[Array, "out groups"],
    zeros: Float[Array, "out groups"] | None,
    table: Float[Array, " points"] | None,
    *,
    bits: int,
    interpret: bool = False,
) -> Float[Array, "m out"]:
    """x·Wᵀ: a sum over the parts of rows, in float32."""
    (m, k), (out, groups) = x.shape, scales.shape
    plan = Plan(out, k, groups, bits)
    shares, depth = plan.shares, plan.depth
    columns = jnp.pad(x, ((0, VECTORS - m), (0, 0))).T
    sums = jnp.sum(columns.astype(jnp.float32).reshape(-1, depth, VECTORS), axis=1)
    data = jax.lax.bitcast_convert_type(words, jnp.uint8)
    arrays = {"bytes": data, "x": columns, "scales": scales}
    arrays |= {} if zeros is None else {"zeros": zeros, "sums": sums}
    arrays |= {} if table is None else {"table": table.astype(x.dtype)}

    def kernel(*refs: Any) -> None:
        ref, out_ref = dict(zip(arrays, refs, strict=False)), refs[-1]
        row = triton.program(0) * ROWS + jnp.arange(ROWS, dtype=jnp.int32)[:, None]
        inside, part = row < out, triton.program(1)
        along = jnp.arange(depth, dtype=jnp.int32)
        vector = jnp.arange(VECTORS, dtype=jnp.int32)[None, :]

        def one(i: Array, total: Array) -> Array:
            first = (part * plan.steps + i) * depth
            loaded: dict[int, Array] = {}
            for share in range(shares.number):
                code = jnp.zeros((ROWS, depth), jnp.uint32)
                for plane in shares.planes:
                    start, bit = shares.place(plane, share)
                    if start not in loaded:
                        at = row * shares.row_bytes + start + first + along[None, :]
                        mask = jnp.broadcast_to(inside, at.shape)
                        loaded[start] = triton.load(ref["bytes"], at, mask).astype(jnp.uint32)
                    piece = (loaded[start] >> bit) & jnp.uint32((1 << plane.width) - 1)
                    code |= piece << plane.low
                place = share * shares.span + first
                if table is None:
                    weights = _floats(code, bits, x.dtype)
                else:
                    weights = ref["table"][code.astype(jnp.int32)]
                product = _dot(weights, ref["x"][(place + along[:, None]) * VECTORS + vector])
                at = row * groups + place // (k // groups)
                if zeros is not None:
                    zero = triton.load(ref["zeros"], at, inside).astype(jnp.float32)
                    product = product - zero * ref["sums"][place // depth * VECTORS + vector]
                scale = triton.load(ref["scales"], at, inside).astype(jnp.float32)
                total = total + scale * product
            return total

        steps = jnp.int32(plan.steps)
        total = jax.lax.fori_loop(jnp.int32(0), steps, one, jnp.zeros((ROWS, VECTORS), jnp.float32))
        at = (part * out + row) * m + vector
        triton.store(out_ref, at, total, inside & (vector < m))

    partial_sums = triton.call(
        kernel,
        *(array.reshape(-1) for array in arrays.values()),
        out=jax.ShapeDtypeStruct((plan.parts * out * m,), jnp.float32),
        grid=(-(-out // ROWS), plan.parts),
        interpret=interpret,
        name=NAME,
    )
    return jnp.sum(partial_sums.reshape(plan.parts, out, m), axis=0).T.astype(x.dtype)


def _floats(code: UInt32[Array, "m n"], bits: int, dtype: np.dtype) -> Float[Array, "m n"]:
    """Codes as floats, without the slow conversion of integers."""
    form = SIGNIFICANDS[dtype.name]
    if bits > form.bits:
        form = FLOAT32
    word = code.astype(form.word) | form.word(form.pattern)
    exact = jax.lax.bitcast_convert_type(word, form.float) - form.float(form.base)
    return exact.astype(dtype)


def _dot(a: Float[Array, "m n"], b: Float[Array, "n v"]) -> Float[Array, "m v"]:
    return jnp.dot(a, b, preferred_element_type=jnp.float32, precision=jax.lax.Precision.HIGHEST)
