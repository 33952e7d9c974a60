"""Operators that keep some coordinates, as one would write them in numpy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from compressors import (
    Bernoulli,
    CoordinateBernoulli,
    Multilevel,
    PermK,
    RandK,
    RandKWithReplacement,
    ScaledRandK,
    Top1Sampling,
    TopK,
)
from experiments.operators import MEMBERS


Vector = npt.NDArray[np.float32]


class Plain(NamedTuple):
    """`encode(x, seed)` gives a message, `decode(message, seed, d)` the vector it stands for."""

    encode: Callable[[Vector, int], Any]
    decode: Callable[[Any, int, int], Vector]


def coordinates(
    draw: Callable[[int, int], npt.NDArray],
    factor: Callable[[int], float],
    sent: bool = False,
    distinct: bool = True,
) -> Plain:
    """Coordinates drawn from the seed, by both ends unless they are sent."""

    def encode(x: Vector, seed: int) -> Any:
        kept = draw(seed, x.size)
        values = x[kept] * np.float32(factor(x.size))
        return (values, kept.astype(np.int32)) if sent else (values,)

    def decode(message: Any, seed: int, d: int) -> Vector:
        kept = message[1] if sent else draw(seed, d)
        out = np.zeros(d, np.float32)
        if distinct:
            out[kept] = message[0]
        else:
            np.add.at(out, kept, message[0])
        return out

    return Plain(encode, decode)


def randk(operator: RandK | ScaledRandK) -> Plain:
    """K distinct coordinates."""
    K = operator.K

    def draw(seed: int, d: int) -> npt.NDArray:
        return np.random.default_rng(seed).choice(d, K, replace=False, shuffle=False)

    scaled = isinstance(operator, ScaledRandK)
    return coordinates(draw, lambda d: 1.0 if scaled else d / K, operator.indices == "sent")


def with_replacement(operator: RandKWithReplacement) -> Plain:
    """K coordinates, some of them again."""
    K = operator.K
    return coordinates(
        lambda seed, d: np.random.default_rng(seed).integers(0, d, K),
        lambda d: d / K,
        operator.indices == "sent",
        distinct=False,
    )


def bernoulli(operator: Bernoulli) -> Plain:
    """All or nothing."""
    p = operator.p

    def encode(x: Vector, seed: int) -> Any:
        return x / np.float32(p) if np.random.default_rng(seed).random() < p else None

    def decode(message: Any, seed: int, d: int) -> Vector:
        return np.zeros(d, np.float32) if message is None else message.copy()

    return Plain(encode, decode)


def coordinate_bernoulli(operator: CoordinateBernoulli) -> Plain:
    """Each coordinate by a coin of its own."""
    q = operator.q
    return coordinates(
        lambda seed, d: np.flatnonzero(np.random.default_rng(seed).random(d, np.float32) < q),
        lambda d: 1 / q,
    )


def sparse(choose: Callable[[Vector, int], tuple[npt.NDArray, Vector]]) -> Plain:
    """Coordinates that depend on values, and so are sent."""

    def encode(x: Vector, seed: int) -> Any:
        kept, values = choose(x, seed)
        return kept.astype(np.int32), values

    def decode(message: Any, seed: int, d: int) -> Vector:
        out = np.zeros(d, np.float32)
        out[message[0]] = message[1]
        return out

    return Plain(encode, decode)


def topk(operator: TopK) -> Plain:
    """The K largest."""

    def choose(x: Vector, seed: int) -> tuple[npt.NDArray, Vector]:
        kept = np.argpartition(np.abs(x), x.size - operator.K)[x.size - operator.K :]
        return kept, x[kept]

    return sparse(choose)


def multilevel(operator: Multilevel) -> Plain:
    """The coordinates between two ranks."""

    def choose(x: Vector, seed: int) -> tuple[npt.NDArray, Vector]:
        ends = (0, *operator.K, x.size)
        level = np.random.default_rng(seed).choice(len(operator.p), p=operator.p)
        low, high = ends[level], ends[level + 1]
        kept = np.argpartition(-np.abs(x), (low, high - 1))[low:high]
        return kept, x[kept] / np.float32(operator.p[level])

    return sparse(choose)


def top1(operator: Top1Sampling) -> Plain:
    """One coordinate, by its share."""

    def choose(x: Vector, seed: int) -> tuple[npt.NDArray, Vector]:
        ends = np.cumsum(np.abs(x), dtype=np.float64)
        j = np.searchsorted(ends, np.random.default_rng(seed).random() * ends[-1], "right")
        return np.array([j]), np.array([np.copysign(ends[-1], x[j])], np.float32)

    return sparse(choose)


def permk(operator: PermK) -> Plain:
    """A block of the permuted coordinates, as nearly equal as d divides."""

    def kept(seed: int, d: int) -> npt.NDArray:
        rng = np.random.default_rng(seed)
        place, ends = rng.integers(MEMBERS), np.arange(MEMBERS + 1) * d // MEMBERS
        return rng.permutation(d)[ends[place] : ends[place + 1]]

    return coordinates(kept, lambda d: float(MEMBERS))
