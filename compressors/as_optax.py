"""A compressor in an ordinary training loop: an optax transformation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Compressor
from compressors._dtype import wide
from compressors._joint import Collective


class CompressionState(NamedTuple):
    """The state of `as_optax`.

    Attributes:
        step: updates so far, int32; the key of an update is that of the seed, folded with it.
        error: what was not sent yet, as one vector of float32 at least; () without error feedback.
        exchange: the state of a `Collective`; () for a compressor.
    """

    step: Int[Array, ""]
    error: Any
    exchange: Any


def as_optax(
    compressor: Compressor | Collective, *, error_feedback: bool = False, seed: int = 0
) -> optax.GradientTransformation:
    """Updates as they arrive at a server: compressed and expanded, all leaves as one vector.

    Put it before the optimizer: `optax.chain(as_optax(TopK(100), error_feedback=True),
    optax.sgd(0.1))`. For a compressor a leaf, `PerLeaf.like(params, make)`. With error feedback
    (Seide et al. 2014; Stich et al. 2018, arXiv 1809.07599): p = g + e, c = C(p), e' = p − c, and c
    goes on; for contractive compressors and PowerSGD, which are biased. In EF-SGD p = γg + e: with
    a constant step size γ that is the same, with a schedule put `as_optax` after the learning rate.

    Args:
        compressor: the compressor, or a collective exchange as its only worker.
        error_feedback: whether what was not sent is added to the next update.
        seed: of the compressor's randomness.

    Returns:
        The transformation; `init` raises `ValueError` where the parameters do not fit the
        compressor. Its state has fixed shapes.
    """

    def apply(
        x: Float[Array, " d"], key: PRNGKeyArray, exchange: Any
    ) -> tuple[Float[Array, " d"], Any]:
        if isinstance(compressor, Collective):
            return compressor.exchange(x[None], exchange)
        return compressor.expand(compressor.compress(x, key=key)), exchange

    def init(params: optax.Params) -> CompressionState:
        x, _ = ravel_pytree(params)
        compressor.check(x.size)
        exchange: Any = ()
        if isinstance(compressor, Collective):
            exchange = compressor.init(x.size, x.dtype, key=jax.random.key(seed))
        error = jnp.zeros(x.size, wide(x)) if error_feedback else ()
        return CompressionState(jnp.zeros((), jnp.int32), error, exchange)

    def update(
        updates: optax.Updates, state: CompressionState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, CompressionState]:
        del params
        g, unravel = ravel_pytree(updates)
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        p = g.astype(wide(g)) + state.error if error_feedback else g
        c, exchange = apply(p.astype(g.dtype), key, state.exchange)
        error = p - c.astype(p.dtype) if error_feedback else ()
        return unravel(c), CompressionState(state.step + 1, error, exchange)

    return optax.GradientTransformation(init, update)
