"""Problems whose stochastic gradients are means over mini-batches."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dopt.problems._base import Problem


class MiniBatched(Problem):
    """One stochastic gradient averages `batch` samples; with `None` gradients are exact.

    A concrete problem gives `weighted_grad_sum`, of which the sum of one job is a case.
    """

    batch: int | None

    def stochastic_grad(
        self, x: Float[Array, " d"], *, key: PRNGKeyArray, worker: Int[Array, ""]
    ) -> Float[Array, " d"]:
        """The gradient over one mini-batch: the sum of one."""
        return self.grad_sum(x, jnp.int32(1), key=key, worker=worker, most=1)

    def grad_sum(
        self,
        x: Float[Array, " d"],
        count: Int[Array, ""],
        *,
        key: PRNGKeyArray,
        worker: Int[Array, ""],
        most: int,
    ) -> Float[Array, " d"]:
        """The sum over `count` mini-batches; `count` times ∇f_i where gradients are exact."""
        if self.batch is None:
            return count.astype(x.dtype) * self.local_grad(x, worker)
        one = jnp.ones(1, x.dtype)
        return self.weighted_grad_sum(
            x, count[None], one, keys=key[None], workers=worker[None], most=most
        )
