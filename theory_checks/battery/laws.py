"""`vmap`, `compress_mean` and `expand_sum` against the loops that define them."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from compressors import Compressor, message_key
from theory_checks.battery.findings import Finding, difference
from theory_checks.battery.wire import send


MOST = 5
WEIGHTS = (1.0, -2.0, 0.0, 0.5, 3.0)


@partial(jax.jit, static_argnums=0)
def _batched(compressor: Compressor, batch: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
    keys = jax.vmap(lambda j: message_key(key, j))(jnp.arange(MOST))
    codes = jax.vmap(lambda x, key: compressor.compress(x, key=key))(batch, keys)
    total = compressor.expand_sum(codes, jnp.asarray(WEIGHTS, batch.dtype))
    return jax.vmap(compressor.expand)(codes), total


@partial(jax.jit, static_argnums=0)
def _mean(compressor: Compressor, x: Array, m: Array, key: PRNGKeyArray) -> Array:
    return compressor.compress_mean(x, m, key=key, most=MOST)


def laws(compressor: Compressor, x: np.ndarray, key: PRNGKeyArray) -> Iterator[Finding]:
    """Everything that compresses several vectors, or one several times, agrees with a loop."""

    def one(x: np.ndarray, j: int) -> np.ndarray:
        return np.asarray(send(compressor, x, message_key(key, j)).result)

    batch = np.stack([x, -x, 2 * x, x[::-1], x + 1])
    rows, total = _batched(compressor, batch, key)
    loop = np.stack([one(row, j) for j, row in enumerate(batch)])
    terms = np.asarray(WEIGHTS, x.dtype)[:, None] * loop
    yield difference("vmap is the loop", rows, loop, loop)
    yield difference("expand_sum is the weighted loop", total, terms.sum(axis=0), terms)
    draws = np.stack([one(x, j) for j in range(MOST)])
    for m in (1, MOST):
        check = f"compress_mean is the mean of the loop, m = {m}"
        mean = _mean(compressor, x, np.int32(m), key)
        yield difference(check, mean, draws[:m].mean(axis=0), draws)
