"""One line an operator: what the batteries, the benchmark and the pictures go through.

An entry makes the operator for a dimension (and a number of members). A public class of
`compressors` without a line here fails a test.
"""

import math
from collections.abc import Callable

import numpy as np

from compressors import (
    CORE,
    EDEN,
    Averaged,
    Bernoulli,
    Collective,
    Composed,
    Compressor,
    ContractiveComposed,
    ContractivePerLeaf,
    CoordinateBernoulli,
    CorrelatedQuantization,
    Identity,
    IndependentFamily,
    IndependentQuantization,
    Joint,
    Multilevel,
    NaturalCompression,
    NaturalDithering,
    PerLeaf,
    PermK,
    PowerSGD,
    RandK,
    RandKWithReplacement,
    RandomDithering,
    RankR,
    Scaled,
    ScaledRandK,
    ScaledSign,
    Sign,
    Ternary,
    Top1Sampling,
    TopK,
    UniformEDEN,
)


def percent(d: int) -> int:
    """One per cent of d coordinates, at least one."""
    return max(1, d // 100)


def matrix(d: int) -> tuple[int, int]:
    """Rows and columns of d entries, as near to a square as d divides."""
    rows = next(rows for rows in range(math.isqrt(d), 0, -1) if d % rows == 0)
    return rows, d // rows


def steep(s: int, d: int) -> float:
    """The other entries of the worst vector of random dithering with p = ∞, whose largest is 1."""
    return 1 / (s + math.sqrt(s**2 + d - 1))


def powers(d: int) -> tuple[int, ...]:
    """1, 4, 16, … below d: the coordinates kept by nested levels."""
    return tuple(4**level for level in range(d.bit_length()) if 4**level < d)


def dyadic(levels: int) -> tuple[float, ...]:
    """Probabilities of so many levels, each half of the one before."""
    return tuple(2**level / (2**levels - 1) for level in reversed(range(levels)))


def leaves(d: int) -> tuple[int, ...]:
    """Two leaves of d entries, the first one larger where they are not equal; one where d = 1."""
    return (d - d // 2, d // 2)[:d]


OPERATORS: dict[str, Callable[[int], Compressor]] = {
    "Bernoulli": lambda d: Bernoulli(0.1),
    "CORE": lambda d: CORE(16),
    "CoordinateBernoulli": lambda d: CoordinateBernoulli(percent(d) / d),
    "EDEN, 1 bit": lambda d: EDEN(1),
    "EDEN, 4 bits": lambda d: EDEN(4),
    "Identity": lambda d: Identity(),
    "Multilevel": lambda d: Multilevel(powers(d), dyadic(len(powers(d)) + 1)),
    "NaturalCompression": lambda d: NaturalCompression(),
    "NaturalDithering, s = 1": lambda d: NaturalDithering(1),
    "NaturalDithering, s = 8": lambda d: NaturalDithering(8),
    "RandK": lambda d: RandK(percent(d)),
    "RandK, indices sent": lambda d: RandK(percent(d), indices="sent"),
    "RandKWithReplacement": lambda d: RandKWithReplacement(percent(d)),
    "RandomDithering, s = 1": lambda d: RandomDithering(1),
    "RandomDithering, s = 127, p = 1": lambda d: RandomDithering(127, 1),
    "RandomDithering, s = 4": lambda d: RandomDithering(4),
    "RandomDithering, s = 4, p = ∞": lambda d: RandomDithering(4, math.inf),
    "RankR": lambda d: RankR(1, matrix(d)),
    "ScaledRandK": lambda d: ScaledRandK(percent(d)),
    "ScaledSign": lambda d: ScaledSign(),
    "Sign": lambda d: Sign(),
    "Ternary": lambda d: Ternary(),
    "Top1Sampling": lambda d: Top1Sampling(),
    "TopK": lambda d: TopK(percent(d)),
    "UniformEDEN, 1 bit": lambda d: UniformEDEN(1),
    "UniformEDEN, 3 bits": lambda d: UniformEDEN(3),
    "RandK, averaged": lambda d: Averaged(RandK(percent(d)), 4),
    "RandK, scaled": lambda d: Scaled(RandK(percent(d))),
    "RandK of natural compression": lambda d: Composed(RandK(percent(d)), NaturalCompression()),
    "RandK of dithering": lambda d: Composed(RandK(percent(d), indices="sent"), RandomDithering(4)),
    "TopK of natural compression": lambda d: ContractiveComposed(
        TopK(percent(d)), NaturalCompression()
    ),
    "dithering, scaled": lambda d: Scaled(RandomDithering(1)),
    "halves by RandK and natural compression": lambda d: PerLeaf(
        (RandK(percent(d)), NaturalCompression())[:d], leaves(d)
    ),
    "halves by TopK and scaled sign": lambda d: ContractivePerLeaf(
        (TopK(1), ScaledSign())[:d], leaves(d)
    ),
}

JOINTS: dict[str, Callable[[int, int], Joint]] = {
    "CorrelatedQuantization": lambda d, n: CorrelatedQuantization(),
    "CorrelatedQuantization, k = 5": lambda d, n: CorrelatedQuantization(5),
    "CorrelatedQuantization, rotated": lambda d, n: CorrelatedQuantization(2, "max", rotated=True),
    "IndependentFamily": lambda d, n: IndependentFamily(RandK(percent(d))),
    "IndependentQuantization": lambda d, n: IndependentQuantization(),
    "IndependentQuantization, k = 5": lambda d, n: IndependentQuantization(5, "max"),
    "PermK": lambda d, n: PermK(),
}

COLLECTIVES: dict[str, Callable[[int], Collective]] = {
    "PowerSGD": lambda d: PowerSGD(1, matrix(d)),
}

ATTAINED: dict[str, Callable[[int], np.ndarray]] = {
    "RandomDithering, s = 4, p = ∞": lambda d: np.append(np.full(d - 1, steep(4, d)), 1.0),
    "RankR": lambda d: np.eye(*matrix(d)).ravel(),
    "halves by RandK and natural compression": lambda d: np.repeat((1.0, 0.0)[:d], leaves(d)),
    "halves by TopK and scaled sign": lambda d: np.repeat((1.0, 0.0)[:d], leaves(d)),
}
"""Vectors at which operators attain their exact constants, where the batteries have none such."""
