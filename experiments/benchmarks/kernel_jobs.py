"""What `dopt bench kernels` runs: each kernel at a size, with the array version of the same."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from compressors.kernels.backend import Operation
from compressors.kernels.dequantize_matmul import DEQUANTIZE_MATMUL, dequantize_matmul
from compressors.kernels.hadamard import HADAMARD, block_hadamard
from compressors.kernels.hadamard_quantize_pack import (
    DECODE,
    ENCODE,
    hadamard_quantize_pack,
    hadamard_unpack_dequantize,
)
from compressors.kernels.pack import pack, unpack
from compressors.kernels.pack.api import PACK, UNPACK
from compressors.kernels.quantize_pack import Levels, quantize_pack, unpack_dequantize
from compressors.kernels.quantize_pack.api import QUANTIZE_PACK, UNPACK_DEQUANTIZE
from compressors.kernels.reduce_packed import reduce_packed
from compressors.kernels.reduce_packed.api import REDUCE_PACKED
from experiments.benchmarks import numpy_kernels


SEED = 3
WORKERS = 8
"""Messages that are averaged."""

BLOCK = 1024
"""Numbers that are rotated together before they are rounded to a grid."""

LEVELS = 7
"""On either side of zero, in 4 bits."""

GROUP = 128
LONGEST_ROW = 4096
"""Of a weight matrix."""


class Job(NamedTuple):
    """One call.

    Attributes:
        operation: what is run.
        arrays: what it reads.
        run: (*arrays, backend=...) to the arrays that it writes.
        plain: (xp, *arrays) to the same arrays with numpy or CuPy; None where there is no version.
        besides: another way to the same end: its function and its arrays.
    """

    operation: Operation
    arrays: tuple[jax.Array, ...]
    run: Callable[..., Any]
    plain: Callable[..., Any] | None = None
    besides: Mapping[str, tuple[Callable[..., Any], tuple[jax.Array, ...]]] = {}


def _key(number: int) -> jax.Array:
    return jax.random.key(number)


def _codes(size: int, bits: int) -> jax.Array:
    return jax.random.bits(_key(0), (size,), jnp.uint8) >> (8 - bits)


def _normal(size: int, dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.normal(_key(1), (size,), dtype)


def _pack(size: int, *, bits: int) -> Job:
    return Job(
        PACK,
        (_codes(size, bits),),
        partial(pack, bits=bits),
        partial(numpy_kernels.pack, bits=bits),
    )


def _unpack(size: int, *, bits: int) -> Job:
    words = jax.jit(partial(pack, bits=bits, backend="xla"))(_codes(size, bits))
    return Job(
        UNPACK,
        (words,),
        partial(unpack, bits=bits, k=size),
        partial(numpy_kernels.unpack, bits=bits, k=size),
    )


def _quantize(size: int, *, s: int, seed: int | None) -> Job:
    seeds = None if seed is None else (jnp.uint32(seed), jnp.uint32(0))

    def run(x: Any, scale: Any, backend: Any) -> Any:
        return quantize_pack(x, Levels(s), scale, seed=seeds, backend=backend)

    return Job(
        QUANTIZE_PACK,
        (_normal(size), jnp.float32(3 / s)),
        run,
        partial(numpy_kernels.quantize_pack, s=s, seed=seed),
    )


def _levels(rows: tuple[int, ...], size: int) -> jax.Array:
    """Packed codes of 4 bits, below 8."""
    return jax.random.bits(_key(2), (*rows, size // 8), jnp.uint32) & jnp.uint32(0x77777777)


def _dequantize(size: int, *, dtype: Any) -> Job:
    s = LEVELS

    def run(words: Any, scale: Any, backend: Any) -> Any:
        return unpack_dequantize(words, Levels(s), scale, size, dtype=dtype, backend=backend)

    same = dtype == jnp.float32
    return Job(
        UNPACK_DEQUANTIZE,
        (_levels((), size), jnp.float32(3 / s)),
        run,
        partial(numpy_kernels.unpack_dequantize, s=s, k=size) if same else None,
    )


def _reduce(size: int) -> Job:
    s = LEVELS

    def run(words: Any, scale: Any, backend: Any) -> Any:
        return reduce_packed(words, Levels(s), scale, size, backend=backend)

    return Job(
        REDUCE_PACKED,
        (_levels((WORKERS,), size), jnp.float32(3 / s)),
        run,
        partial(numpy_kernels.reduce_packed, s=s, k=size),
    )


def _hadamard(size: int, *, block: int, dtype: Any = jnp.float32) -> Job:
    return Job(
        HADAMARD,
        (_normal(size, dtype),),
        partial(block_hadamard, size=block),
        partial(numpy_kernels.hadamard, size=block) if dtype == jnp.float32 else None,
    )


def _grid(n: int, p: int) -> jax.Array:
    """Quantiles of the normal distribution, or normal points."""
    if p == 1:
        levels = (jnp.arange(n, dtype=jnp.float32) + 0.5) / n
        return jax.scipy.special.ndtri(levels)[:, None]
    return jax.random.normal(_key(4), (n, p), jnp.float32)


def _encode(size: int, *, n: int, p: int) -> Job:
    def plain(xp: Any, x: Any, grid: Any) -> Any:
        return numpy_kernels.hadamard_quantize_pack(xp, x, grid[:, 0], BLOCK)

    return Job(
        ENCODE,
        (_normal(size), _grid(n, p)),
        partial(hadamard_quantize_pack, size=BLOCK),
        plain if p == 1 else None,
    )


def _decode(size: int, *, n: int, p: int) -> Job:
    grid = _grid(n, p)
    encode = jax.jit(partial(hadamard_quantize_pack, size=BLOCK, backend="xla"))

    def plain(xp: Any, words: Any, scales: Any, grid: Any) -> Any:
        return numpy_kernels.hadamard_unpack_dequantize(xp, words, scales, grid[:, 0], BLOCK)

    return Job(
        DECODE,
        (*encode(_normal(size), grid), grid),
        partial(hadamard_unpack_dequantize, size=BLOCK),
        plain if p == 1 else None,
    )


def _product(size: int, *, bits: int, vectors: int) -> Job:
    k = min(LONGEST_ROW, 1 << (size.bit_length() // 2))
    out, group = size // k, min(GROUP, k // 8)
    dtype = jnp.bfloat16 if jax.default_backend() == "gpu" else jnp.float32
    codes = _codes(size, bits).reshape(out, k)
    words = jax.jit(partial(pack, bits=bits, backend="xla"))(codes)
    scales = jnp.full((out, k // group), 0.1, jnp.float32)
    zeros = jnp.full((out, k // group), 2.0 ** (bits - 1), jnp.float32)
    x = _normal(vectors * k, dtype).reshape(vectors, k)

    def run(x: Any, words: Any, scales: Any, zeros: Any, backend: Any) -> Any:
        return dequantize_matmul(x, words, scales, zeros=zeros, bits=bits, backend=backend)

    def dense(x: Any, weights: Any) -> Any:
        return jnp.matmul(x, weights.T)

    return Job(
        DEQUANTIZE_MATMUL,
        (x, words, scales, zeros),
        run,
        partial(numpy_kernels.dequantize_matmul, bits=bits) if dtype == jnp.float32 else None,
        {f"dense {jnp.dtype(dtype).name}": (dense, (x, codes.astype(dtype)))},
    )


JOBS: Mapping[str, Callable[[int], Job]] = {
    **{f"pack, {bits} bits": partial(_pack, bits=bits) for bits in (1, 2, 3, 4, 8)},
    **{f"unpack, {bits} bits": partial(_unpack, bits=bits) for bits in (1, 2, 3, 4, 8)},
    "quantize_pack, 4 bits, nearest": partial(_quantize, s=LEVELS, seed=None),
    "quantize_pack, 4 bits, random": partial(_quantize, s=LEVELS, seed=SEED),
    "quantize_pack, 8 bits, random": partial(_quantize, s=127, seed=SEED),
    "unpack_dequantize, 4 bits": partial(_dequantize, dtype=jnp.float32),
    "unpack_dequantize, 4 bits, bfloat16": partial(_dequantize, dtype=jnp.bfloat16),
    f"reduce_packed, 4 bits, {WORKERS} messages": _reduce,
    **{f"hadamard, {block}": partial(_hadamard, block=block) for block in (64, 256, 1024, 4096)},
    "hadamard, 1024, bfloat16": partial(_hadamard, block=1024, dtype=jnp.bfloat16),
    "hadamard_quantize_pack, 16 points": partial(_encode, n=16, p=1),
    "hadamard_quantize_pack, 256 pairs": partial(_encode, n=256, p=2),
    "hadamard_unpack_dequantize, 16 points": partial(_decode, n=16, p=1),
    "hadamard_unpack_dequantize, 256 pairs": partial(_decode, n=256, p=2),
    **{
        f"dequantize_matmul, {bits} bits, {vectors} x": partial(
            _product, bits=bits, vectors=vectors
        )
        for bits, vectors in ((2, 1), (3, 1), (4, 1), (8, 1), (4, 16))
    },
}
"""By name: a job of so many numbers or codes, a power of two of at least `LEAST`."""

LEAST = 1 << 13
