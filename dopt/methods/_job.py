"""What a worker is asked to do, and the keys of everything that is drawn for it."""

from dataclasses import dataclass, field

import jax
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from compressors.kernels.threefry import fold_in


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Job:
    """What a worker was asked to do: scalars, or arrays of P jobs for a batch.

    `budget` is what a message may have, in bits, where the method chooses its size by it, else 0.

    Static: `n` workers of the cluster, `dense` (the vector itself is sent), the `phase`, and
    `most_gradients`, `most_messages`, bounds of b and m that fix shapes; no result depends on the
    bounds.
    """

    worker: Int[Array, "*P"]
    job: Int[Array, "*P"]
    gradients: Int[Array, "*P"]
    messages: Int[Array, "*P"]
    budget: Int[Array, "*P"]
    weight: Shaped[Array, "*P"]
    n: int = field(metadata={"static": True})
    dense: bool = field(metadata={"static": True})
    phase: int = field(metadata={"static": True})
    most_gradients: int = field(metadata={"static": True})
    most_messages: int = field(metadata={"static": True})


def job_key(run: PRNGKeyArray, worker: Int[Array, ""], job: Int[Array, ""]) -> PRNGKeyArray:
    """The key of a worker's job; the same in the plain loop, the scan and on a live actor."""
    return fold_in(fold_in(run, worker), job)


ROUNDS = 2**31 - 1
"""Stands where a worker's number stands in `job_key`: no worker that counts has it."""

SERVER = 2**31 - 1
"""Folded into a round's key for what the server draws."""


def round_key(run: PRNGKeyArray, version: Int[Array, ""]) -> PRNGKeyArray:
    """The coin that all workers of a round share, and the server of the step that ends it."""
    return fold_in(fold_in(run, ROUNDS), version)


def streams(key: PRNGKeyArray) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """The two uses of a job's key: gradient noise, and messages."""
    return fold_in(key, 0), fold_in(key, 1)
