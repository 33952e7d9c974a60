"""Moments of the error of a compressor over many keys."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Compressor, message_key
from theory_checks.battery.vectors import length


LONGER = 64
"""Times as many draws for a vector that is asked to be resolved."""

SIGMAS = 6.0
"""Standard errors by which a vector counts as resolved."""

RESOLVED_BIAS = 0.005
"""A vector is resolved where a bias of this much along it would be seen, …"""

RESOLVED_SPREAD = 0.02
"""… and its mean squared error is known to this much."""


class Moments(NamedTuple):
    """Moments of C(x) − x over many draws, in units of ‖x‖; a row of statistics each.

    The statistics are the d coordinates, three projections (on x, on its signs and on the ones),
    and the squared norm.
    """

    vector: str
    draws: int
    mean: Float[np.ndarray, " statistics"]
    sd: Float[np.ndarray, " statistics"]
    reach: Float[np.ndarray, " statistics"]


def block(d: int) -> int:
    """Draws taken by one call of the compiled sampler: fewer where d is large, for the memory."""
    return max(16, min(1024, 2**20 // d))


@partial(jax.jit, static_argnums=0)
def sample(
    compressor: Compressor, x: Float[Array, " d"], key: PRNGKeyArray, first: Array
) -> Float[Array, "draws d"]:
    """C(x) for the messages `first`, `first` + 1, … of `key`, one block of them."""
    messages = first + jnp.arange(block(x.size), dtype=jnp.int32)
    keys = jax.vmap(lambda j: message_key(key, j))(messages)
    return jax.vmap(lambda key: compressor.expand(compressor.compress(x, key=key)))(keys)


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
    """The moments over `draws` keys, in whole blocks, summed on the host in float64.

    Args:
        compressor: the compressor.
        vector: the name of the vector.
        x: the vector.
        key: of the first message stream.
        draws: how many; a compressor that shows no randomness is not drawn again.
        least: fewer draws may show no randomness by chance.
        resolve: go on, up to `LONGER` times as many draws, until the vector is resolved.
    """
    exact = x.astype(np.float64)
    size = length(exact) or 1.0
    unit = exact / size
    root = math.sqrt(exact.size)
    onto = np.stack([unit, np.sign(exact) / root, np.full_like(exact, 1 / root)], axis=1)
    total = squares = reach = np.zeros(exact.size + 4)
    count, fixed, begin = 0, True, None
    while True:
        y = np.asarray(sample(compressor, x, key, np.int32(count)), np.float64)
        begin = y[0] if begin is None else begin
        fixed = fixed and bool((y == begin).all())
        error = y / size - unit
        row = np.concatenate([error, error @ onto, (error**2).sum(axis=1)[:, None]], axis=1)
        total, squares = total + row.sum(axis=0), squares + (row**2).sum(axis=0)
        reach = np.maximum(reach, np.abs(row).max(axis=0))
        count += len(row)
        mean = total / count
        sd = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        moments = Moments(vector, count, mean, sd, reach)
        if fixed and count >= least:
            return moments._replace(sd=np.zeros_like(sd))
        if count >= draws and not (resolve and count < LONGER * draws and not _resolved(moments)):
            return moments


def _resolved(moments: Moments) -> bool:
    error = SIGMAS * moments.sd / math.sqrt(moments.draws)
    along = bool(error[-4:-1].max() <= RESOLVED_BIAS)
    return along and bool(error[-1] <= RESOLVED_SPREAD * moments.mean[-1])
