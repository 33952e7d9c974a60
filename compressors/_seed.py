"""A key as plain numbers, for codes that draw the same again when they are expanded."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt32

from compressors.kernels.threefry import IMPL


def seed_of(key: PRNGKeyArray) -> UInt32[Array, " 2"]:
    """64 bits drawn from a key of any kind."""
    return jax.random.bits(key, (2,), jnp.uint32)


def key_of(seed: UInt32[Array, " 2"]) -> PRNGKeyArray:
    """The key that has these bits."""
    return jax.random.wrap_key_data(seed, impl=IMPL)
