"""Operators as one would write them in numpy: whole arrays, a generator for each message.

Messages hold the same information as ours, in what numpy has at hand: levels in whole bytes, signs
in single bits (`packbits`), indices as int32. Indices from a shared seed are drawn again by
`decode`. Vectors are float32.
"""

import math
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from compressors import (
    CORE,
    EDEN,
    Bernoulli,
    CoordinateBernoulli,
    Identity,
    IndependentQuantization,
    Multilevel,
    NaturalCompression,
    NaturalDithering,
    PermK,
    RandK,
    RandKWithReplacement,
    RandomDithering,
    RankR,
    ScaledRandK,
    ScaledSign,
    Sign,
    Ternary,
    Top1Sampling,
    TopK,
)
from compressors._gaussian_grid import lloyd_max
from experiments.benchmarks.numpy_coordinates import (
    Plain,
    Vector,
    bernoulli,
    coordinate_bernoulli,
    multilevel,
    permk,
    randk,
    top1,
    topk,
    with_replacement,
)


@singledispatch
def plain(operator: object) -> Plain | None:
    """The operator in numpy, `None` where nobody would write it so."""
    return None


plain.register(Bernoulli, bernoulli)
plain.register(CoordinateBernoulli, coordinate_bernoulli)
plain.register(Multilevel, multilevel)
plain.register(PermK, permk)
plain.register(RandK, randk)
plain.register(RandKWithReplacement, with_replacement)
plain.register(ScaledRandK, randk)
plain.register(Top1Sampling, top1)
plain.register(TopK, topk)


@plain.register
def _(operator: Identity) -> Plain:
    return Plain(lambda x, seed: x.copy(), lambda message, seed, d: message.copy())


def _dithering(s: int, p: float) -> Plain:
    def encode(x: Vector, seed: int) -> Any:
        norm = np.linalg.norm(x, p)
        u = np.random.default_rng(seed).random(x.size, np.float32)
        levels = np.copysign(np.floor(np.abs(x) * np.float32(s / norm) + u), x)
        return norm, levels.astype(np.int8 if s < 128 else np.int16)

    def decode(message: Any, seed: int, d: int) -> Vector:
        return message[1] * np.float32(message[0] / s)

    return Plain(encode, decode)


@plain.register
def _(operator: RandomDithering) -> Plain:
    return _dithering(operator.s, operator.p)


@plain.register
def _(operator: Ternary) -> Plain:
    return _dithering(1, math.inf)


@plain.register
def _(operator: NaturalCompression) -> Plain:
    def encode(x: Vector, seed: int) -> Any:
        bits = x.view(np.uint32)
        carry = np.random.default_rng(seed).integers(0, 1 << 23, x.size, np.uint32)
        exponent = ((bits & 0x7FFFFFFF) + carry) >> 23
        return (exponent | bits >> 31 << 8).astype(np.uint16)

    def decode(message: Any, seed: int, d: int) -> Vector:
        codes = message.astype(np.uint32)
        return ((codes & 0xFF) << 23 | codes >> 8 << 31).view(np.float32)

    return Plain(encode, decode)


@plain.register
def _(operator: NaturalDithering) -> Plain:
    s, least = operator.s, np.float32(2.0 ** (1 - operator.s))

    def encode(x: Vector, seed: int) -> Any:
        norm = np.linalg.norm(x, operator.p)
        y = np.abs(x) / np.float32(norm)
        u = np.random.default_rng(seed).random(x.size, np.float32)
        mantissa, exponent = np.frexp(y)
        power = exponent + (u < 2 * mantissa - 1) + (s - 1)
        levels = np.where(y < least, u < y / least, power)
        return norm, np.copysign(levels, x).astype(np.int8)

    def decode(message: Any, seed: int, d: int) -> Vector:
        norm, levels = message
        size = np.where(levels == 0, 0, np.ldexp(np.float32(norm), np.abs(levels) - np.int32(s)))
        return np.copysign(size, levels).astype(np.float32)

    return Plain(encode, decode)


@plain.register
def _(operator: ScaledSign | Sign) -> Plain:
    scaled = isinstance(operator, ScaledSign)

    def encode(x: Vector, seed: int) -> Any:
        scale = np.abs(x).mean() if scaled else np.float32(x.any())
        return scale, np.packbits(np.signbit(x))

    def decode(message: Any, seed: int, d: int) -> Vector:
        scale, words = message
        return np.where(np.unpackbits(words, count=d), -scale, scale)

    return Plain(encode, decode)


@plain.register
def _(operator: CORE) -> Plain:
    K = operator.K

    def encode(x: Vector, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        return np.array([rng.standard_normal(x.size, np.float32) @ x for _ in range(K)])

    def decode(message: Any, seed: int, d: int) -> Vector:
        rng, out = np.random.default_rng(seed), np.zeros(d, np.float32)
        for projection in message:
            out += projection / np.float32(K) * rng.standard_normal(d, np.float32)
        return out

    return Plain(encode, decode)


def _hadamard(x: Vector) -> Vector:
    width = 1
    while width < x.size:
        pairs = x.reshape(-1, 2, width)
        x = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).ravel()
        width *= 2
    return x * np.float32(1 / math.sqrt(x.size))


@plain.register
def _(operator: EDEN) -> Plain:
    grid, times = lloyd_max(operator.bits), operator.transforms
    points, thresholds = grid.points.astype(np.float32), grid.thresholds.astype(np.float32)

    def signs(seed: int, p: int) -> npt.NDArray[np.float32]:
        drawn = np.random.default_rng(seed).integers(0, 2, (times, p), np.int8)
        return (1 - 2 * drawn).astype(np.float32)

    def encode(x: Vector, seed: int) -> Any:
        z = np.pad(x, (0, (1 << (x.size - 1).bit_length()) - x.size))
        for row in signs(seed, z.size):
            z = _hadamard(row * z)
        norm = np.linalg.norm(x)
        z *= np.float32(math.sqrt(z.size) / norm)
        levels = np.searchsorted(thresholds, z).astype(np.uint8)
        return norm * math.sqrt(z.size) / (z @ points[levels]), levels

    def decode(message: Any, seed: int, d: int) -> Vector:
        y = np.float32(message[0]) * points[message[1]]
        for row in signs(seed, y.size)[::-1]:
            y = row * _hadamard(y)
        return y[:d]

    return Plain(encode, decode)


@plain.register
def _(operator: RankR) -> Plain:
    def encode(x: Vector, seed: int) -> Any:
        u, s, v = np.linalg.svd(x.reshape(operator.shape), full_matrices=False)
        return u[:, : operator.r] * s[: operator.r], v[: operator.r]

    return Plain(encode, lambda message, seed, d: (message[0] @ message[1]).ravel())


@plain.register
def _(operator: IndependentQuantization) -> Plain | None:
    if operator.rotated or not isinstance(operator.span, str):
        return None
    steps, p = operator.levels - 1, {"norm": 2.0, "max": math.inf}[operator.span]

    def encode(x: Vector, seed: int) -> Any:
        span = np.linalg.norm(x, p)
        u = np.random.default_rng(seed).random(x.size, np.float32)
        levels = np.floor((x / np.float32(span) + 1) * np.float32(steps / 2) + u).astype(np.uint8)
        return span, np.packbits(levels) if steps == 1 else levels

    def decode(message: Any, seed: int, d: int) -> Vector:
        span, levels = message
        levels = np.unpackbits(levels, count=d) if steps == 1 else levels
        return np.float32(span) * (levels * np.float32(2 / steps) - np.float32(1))

    return Plain(encode, decode)
