"""Moments of the error of a compressor over many keys."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Compressor, message_key
from compressors._float import largest, quotient


LONGER = 128
"""Times as many draws, at most, for a vector that is asked to be resolved."""

SIGMAS = 6.0
"""Standard errors by which a vector counts as resolved."""

RESOLVED_BIAS = 0.0065
"""A vector is resolved where a bias of this much along it would be as likely seen as not, so that
one part in a hundred is three standard errors beyond doubt, …"""

RESOLVED_SPREAD = 0.02
"""… and its mean squared error is known to this much."""


class Sums(NamedTuple):
    """Sums and extremes of statistics over draws."""

    total: Float[Array | np.ndarray, "*statistics"]
    squares: Float[Array | np.ndarray, "*statistics"]
    low: Float[Array | np.ndarray, "*statistics"]
    high: Float[Array | np.ndarray, "*statistics"]


class Moments(NamedTuple):
    """Moments of C(x) − x over many draws, in units of ‖x‖, or as they are for x = 0.

    The statistics are the d coordinates, three projections (on x, on its signs and on the ones),
    and the squared norm. `random` says whether two results differed; `longest` is the length of the
    longest error.
    """

    vector: str
    draws: int
    mean: Float[np.ndarray, " statistics"]
    sd: Float[np.ndarray, " statistics"]
    random: bool
    longest: float


def block(d: int) -> int:
    """Draws taken by one call of the compiled sampler: fewer where d is large, for the memory."""
    return max(16, min(1024, 2**20 // d))


@partial(jax.jit, static_argnums=0)
def sample(compressor: Compressor, x: Float[Array, " d"], key: PRNGKeyArray, first: Array) -> Sums:
    """The messages `first`, `first` + 1, … of `key`, one block of them."""
    messages = first + jnp.arange(block(x.size), dtype=jnp.int32)
    keys = jax.vmap(lambda j: message_key(key, j))(messages)
    return summed(
        jax.vmap(lambda key: errors(x, compressor.expand(compressor.compress(x, key=key))))(keys)
    )


def errors(x: Float[Array, " d"], result: Float[Array, " d"]) -> Float[Array, " statistics"]:
    """The statistics of `Moments` for one result."""
    most = largest(x)
    shape = quotient(x, most)
    size = jnp.where(most > 0, jnp.sqrt(jnp.sum(shape * shape)), 1)
    unit, root = shape / size, math.sqrt(x.size)
    onto = jnp.stack([unit, jnp.sign(x) / root, jnp.full_like(unit, 1 / root)])
    error = quotient(result, most) / size - unit
    return jnp.concatenate([error, onto @ error, jnp.sum(error * error)[None]])


def summed(rows: Float[Array, "draws ..."]) -> Sums:
    """The sums and extremes over draws; extremes are NaN where a row is, which XLA may forget."""
    total, squares = rows.sum(axis=0), (rows * rows).sum(axis=0)
    return Sums(total, squares, rows.min(axis=0) + 0 * total, rows.max(axis=0) + 0 * total)


def plus(sums: Sums, more: Sums) -> Sums:
    """The sums over the draws of both, in float64 on the host."""
    a, b = (Sums(*(np.asarray(part, np.float64) for part in one)) for one in (sums, more))
    low, high = np.minimum(a.low, b.low), np.maximum(a.high, b.high)
    return Sums(a.total + b.total, a.squares + b.squares, low, high)


def moments(vector: str, draws: int, sums: Sums) -> Moments:
    """The moments that sums over so many draws come to."""
    total, squares, low, high = (np.asarray(part, np.float64) for part in sums)
    mean = total / draws
    variance = np.maximum(squares / draws - mean**2, 0.0)
    sd = np.where(low == high, 0.0, np.sqrt(variance))
    return Moments(vector, draws, mean, sd, bool((low != high)[:-4].any()), math.sqrt(high[-1]))


def measure(
    compressor: Compressor,
    vector: str,
    x: Float[np.ndarray, " d"],
    key: PRNGKeyArray,
    draws: int,
    *,
    least: int = 1,
    resolve: bool = False,
) -> Moments:
    """The moments over `draws` keys, in whole blocks, whose sums are added in float64.

    Args:
        compressor: the compressor.
        vector: the name of the vector.
        x: the vector.
        key: of the first message stream.
        draws: how many; a compressor that shows no randomness is not drawn again.
        least: fewer draws may show no randomness by chance.
        resolve: go on, up to `LONGER` times as many draws, until the vector is resolved.
    """
    sums, count = sample(compressor, x, key, np.int32(0)), block(x.size)
    while True:
        now = moments(vector, count, sums)
        if not now.random:
            enough = count >= least
        else:
            longer = resolve and count < LONGER * draws and not _resolved(now)
            enough = count >= draws and not longer
        if enough:
            return now
        sums = plus(sums, sample(compressor, x, key, np.int32(count)))
        count += block(x.size)


def uncertainty(run: Moments, z: float, longest: float) -> Float[np.ndarray, " statistics"]:
    """How far from zero a mean of `run` may be by chance: z standard errors, and what is unseen.

    What happens in one draw of thousands may not have happened, or too seldom for a standard error.
    The empirical Bernstein bound (Maurer and Pontil 2009, Theorem 4, with ln(2/δ) = z²/2) allows
    for it: (7/6)z²/N times the range, for which we take the length of the longest error.
    """
    return z * run.sd / math.sqrt(run.draws) + 7 / 6 * z**2 * longest / run.draws


def _resolved(run: Moments) -> bool:
    along = uncertainty(run, SIGMAS, run.longest)[-4:-1].max()
    spread = SIGMAS * run.sd[-1] / math.sqrt(run.draws)
    return bool(along <= RESOLVED_BIAS and spread <= RESOLVED_SPREAD * run.mean[-1])
