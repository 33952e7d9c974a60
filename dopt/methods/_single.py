"""Where joint families of compressors have no place, and the type of models by their bits."""

from typing import Any

import jax.numpy as jnp

from compressors import Compressor, Joint
from dopt.costs import Costs
from dopt.errors import ConfigurationError


DTYPES = {16: jnp.bfloat16, 32: jnp.float32, 64: jnp.float64}
"""Of models by the bits of a coordinate; of the two types of 16 bits the usual one."""


def dtype_of(costs: Costs, d: int) -> Any:
    """The type of models of d coordinates, which costs know by their bits."""
    return DTYPES[costs.dense_bits // d]


def check_single(name: str, compressor: Compressor | Joint) -> None:
    """Raises `ConfigurationError` for a joint family.

    What a family promises is about the mean of all its members in one round. A method that sums
    messages of several rounds, as memories on the workers do, or of some of the workers, or of
    arrivals without rounds, cannot turn it to account.
    """
    if isinstance(compressor, Joint):
        raise ConfigurationError(
            f"{name} cannot use {compressor}, a joint family whose members answer together in a "
            "round: give a compressor that every worker uses by itself, or take DCGD, QSGD, MARINA "
            "or VR-MARINA"
        )
