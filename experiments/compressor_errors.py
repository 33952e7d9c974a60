"""Squared errors of operators and the bits that they send, on synthetic and real vectors.

An operator is measured with several parameters, a curve. What follows from its parts is left out:
scaling, averaging, leaves, and RankR's cousin PowerSGD; so is Sign, which sends no magnitude.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import (
    CORE,
    EDEN,
    AsymptoticallyUnbiased,
    Bernoulli,
    Composed,
    Compressor,
    Contractive,
    ContractiveComposed,
    CoordinateBernoulli,
    CorrelatedQuantization,
    IndependentQuantization,
    Joint,
    Multilevel,
    NaturalCompression,
    NaturalDithering,
    PermK,
    RandK,
    RandKWithReplacement,
    RandomDithering,
    RandomSize,
    RankR,
    ScaledRandK,
    ScaledSign,
    Ternary,
    Top1Sampling,
    TopK,
    UniformEDEN,
)
from experiments.compressor_vectors import vectors
from experiments.operators import MEMBERS
from theory_checks.catalogue import dyadic, matrix, powers


MOST = 2**14
"""Draws of an operator, spread over the vectors, …"""

SECONDS = 0.4
"""… unless they take longer than this."""

SHARES = (0.001, 0.01, 0.1, 0.25, 0.5)
"""Coordinates kept."""

Operator = Compressor | Joint


class Curve(NamedTuple):
    """An operator with each of its parameters; of a family, the first is drawn with a line."""

    family: str
    operator: str
    points: dict[str, Callable[[int], Operator]]


def _kept(
    make: Callable[[int], Operator], shares: tuple[float, ...] = SHARES
) -> dict[str, Callable[[int], Operator]]:
    return {f"K/d = {share:g}": partial(_of_share, make, share) for share in shares}


def _of_share(make: Callable[[int], Operator], share: float, d: int) -> Operator:
    return make(max(1, round(share * d)))


def _each(
    name: str, make: Callable[[Any], Operator], values: tuple[float, ...]
) -> dict[str, Callable[[int], Operator]]:
    return {f"{name} = {value}": partial(_of_value, make, value) for value in values}


def _of_value(make: Callable[[Any], Operator], value: Any, d: int) -> Operator:
    return make(value)


def _of_rank(r: int, d: int) -> Operator:
    return RankR(r, matrix(d))


def equal(levels: int) -> tuple[float, ...]:
    """The same probability for each level."""
    return (1 / levels,) * levels


LEVELS = (1, 3, 7, 15, 31, 63, 127)
"""Signed levels that fill 2 to 8 bits."""

CURVES = (
    Curve("RandK, Bernoulli, PermK", "RandK", _kept(RandK)),
    Curve(
        "RandK, Bernoulli, PermK",
        "RandKWithReplacement",
        _kept(RandKWithReplacement, (0.002, 0.02)),
    ),
    Curve("RandK, Bernoulli, PermK", "Bernoulli", _each("p", Bernoulli, (0.05, 0.15))),
    Curve(
        "RandK, Bernoulli, PermK",
        "CoordinateBernoulli",
        _each("q", CoordinateBernoulli, (0.005, 0.05, 0.35)),
    ),
    Curve("RandK, Bernoulli, PermK", "PermK", {"": lambda d: PermK()}),
    Curve("Top-1 sampling", "Top1Sampling", {"": lambda d: Top1Sampling()}),
    Curve(
        "multilevel TopK",
        "Multilevel",
        {
            "p halves": lambda d: Multilevel(powers(d), dyadic(len(powers(d)) + 1)),
            "p equal": lambda d: Multilevel(powers(d), equal(len(powers(d)) + 1)),
        },
    ),
    Curve("CORE", "CORE", _kept(CORE, (0.001, 0.01, 0.1))),
    Curve("random dithering, p = 2", "RandomDithering", _each("s", RandomDithering, LEVELS)),
    Curve(
        "random dithering, p = ∞",
        "RandomDithering",
        _each("s", lambda s: RandomDithering(s, math.inf), LEVELS),
    ),
    Curve("random dithering, p = ∞", "Ternary", {"": lambda d: Ternary()}),
    Curve("natural dithering", "NaturalDithering", _each("s", NaturalDithering, (1, 3, 7, 15))),
    Curve("natural compression", "NaturalCompression", {"": lambda d: NaturalCompression()}),
    Curve(
        "RandK of natural compression",
        "Composed",
        _kept(lambda K: Composed(RandK(K), NaturalCompression())),
    ),
    Curve(
        "correlated quantization",
        "CorrelatedQuantization",
        _each("k", lambda k: CorrelatedQuantization(k, "max"), (2, 4, 16, 64, 256)),
    ),
    Curve(
        "correlated quantization",
        "IndependentQuantization",
        _each("k", lambda k: IndependentQuantization(k, "max"), (2, 8, 32)),
    ),
    Curve(
        "correlated quantization, rotated",
        "CorrelatedQuantization",
        _each("k", lambda k: CorrelatedQuantization(k, "max", rotated=True), (2, 4, 16, 64, 256)),
    ),
    Curve("EDEN", "EDEN", _each("bits", EDEN, tuple(range(1, 9)))),
    Curve("EDEN", "UniformEDEN", _each("bits", UniformEDEN, (1, 3))),
    Curve("TopK", "TopK", _kept(TopK)),
    Curve(
        "TopK of natural compression",
        "ContractiveComposed",
        _kept(lambda K: ContractiveComposed(TopK(K), NaturalCompression())),
    ),
    Curve("scaled RandK", "ScaledRandK", _kept(ScaledRandK)),
    Curve("scaled sign", "ScaledSign", {"": lambda d: ScaledSign()}),
    Curve("RankR", "RankR", {f"r = {r}": partial(_of_rank, r) for r in (1, 4, 16)}),
)


def measure(data: str | None, say: Callable[[str], None]) -> pd.DataFrame:
    """A row for each kind of vectors and each operator with each parameter.

    Columns: vectors, d, family, operator, parameter, promise, bits (of a float32 message, per
    coordinate; the mean where sizes are random), error (the mean of ‖C(x) − x‖²/‖x‖²),
    standard_error and draws.

    Args:
        data: the folder of real data, as for `load_mnist`.
        say: takes a line of progress.
    """
    say("gradients")
    kinds = vectors(data)
    rows = []
    for index, curve in enumerate(CURVES):
        say(f"[{index + 1}/{len(CURVES)}] {curve.operator}: {curve.family}")
        for parameter, make in curve.points.items():
            for kind, xs in kinds.items():
                operator = make(xs.shape[1])
                error, standard_error, draws = _error(operator, xs)
                rows.append(
                    {
                        "vectors": kind,
                        "d": xs.shape[1],
                        "family": curve.family,
                        "operator": curve.operator,
                        "parameter": parameter,
                        "promise": _promise(operator),
                        "bits": _bits(operator, xs.shape[1]) / xs.shape[1],
                        "error": error,
                        "standard_error": standard_error,
                        "draws": draws,
                    }
                )
    return pd.DataFrame(rows)


@partial(jax.jit, static_argnums=0)
def _errors(
    operator: Operator, xs: Float[Array, "vectors d"], count: Int[Array, ""], key: PRNGKeyArray
) -> Float[Array, " draws"]:
    """‖C(x) − x‖²/‖x‖² of the first `count` draws, each of the next vector."""

    def draw(i: Array, errors: Array) -> Array:
        x = xs[i % xs.shape[0]]
        coin, own = jax.random.split(jax.random.fold_in(key, i))
        if isinstance(operator, Joint):
            one = operator.member(coin=coin, rank=0, n=MEMBERS)
        else:
            one = operator
        error = one.expand(one.compress(x, key=own)) - x
        return errors.at[i].set(jnp.sum(error**2) / jnp.sum(x**2))

    return jax.lax.fori_loop(0, count, draw, jnp.zeros(MOST, xs.dtype))


def _error(operator: Operator, xs: Float[np.ndarray, "vectors d"]) -> tuple[float, float, int]:
    """The mean, its standard error, and the number of draws: what `SECONDS` allow, or one."""
    key = jax.random.key(0)
    jax.block_until_ready(_errors(operator, xs, np.int32(1), key))
    start = time.perf_counter()
    jax.block_until_ready(_errors(operator, xs, np.int32(1), key))
    seconds = time.perf_counter() - start
    draws = max(1, min(MOST, int(SECONDS / seconds)))
    errors = np.asarray(_errors(operator, xs, np.int32(draws), key), np.float64)[:draws]
    spread = float(errors.std(ddof=1)) / math.sqrt(draws) if draws > 1 else math.nan
    return float(errors.mean()), spread, draws


def _promise(operator: Operator) -> str:
    if isinstance(operator, Contractive):
        return "contractive"
    limit = isinstance(operator, AsymptoticallyUnbiased)
    return "unbiased as d → ∞" if limit else "unbiased"


def _bits(operator: Operator, d: int) -> float:
    """Bits of a message, expected where they vary."""
    if isinstance(operator, Joint):
        return operator.nbits(d, MEMBERS, np.float32)
    if isinstance(operator, RandomSize):
        return operator.expected_bits(d, np.float32)
    return operator.nbits(d, np.float32)
