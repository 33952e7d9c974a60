"""What a worker computes of its own f_i in a round: the exact gradient, or a mean of b draws."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dopt.errors import ConfigurationError
from dopt.methods._base import Memory, Method
from dopt.methods._job import Job
from dopt.problems import Problem


def check_batch(batch: int | None, *, exact: bool = True) -> None:
    """Raises `ConfigurationError` unless a gradient is a mean of b ≥ 1 draws.

    `exact` says that it may also be exact, which is what `None` stands for.
    """
    if (batch is None and not exact) or (batch is not None and batch < 1):
        raise ConfigurationError(
            f"batch = {batch} stochastic gradients have no mean; give at least 1"
            + (", or None for exact gradients" if exact else "")
        )


def local_gradient(
    problem: Problem,
    x: Float[Array, " d"],
    worker: Int[Array, ""],
    batch: int | None,
    key: PRNGKeyArray,
) -> Float[Array, " d"]:
    """∇f_i(x), or the mean of some stochastic gradients; two models at one key share samples."""
    if batch is None:
        return problem.local_grad(x, worker)
    total = problem.grad_sum(x, jnp.int32(batch), key=key, worker=worker, most=batch)
    return total / batch


class _Summed(Method):
    """A method whose workers keep g_i, and whose server adds what arrives to their mean g."""

    stateful: ClassVar[bool] = True

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The new g: g + (1/n) Σ c_i."""
        g = memory + total
        return g, g


class Shifted(_Summed):
    """A method whose workers keep g_i alone."""

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """On the server g = 0, on every worker g_i = 0."""
        return jnp.zeros_like(x), jnp.zeros_like(x)

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """g_i + c_i."""
        return memory + received


class Following(_Summed):
    """A method whose workers keep a vector of their own and g_i, which follows it compressed."""

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """On the server g = 0, on every worker both are 0."""
        return jnp.zeros_like(x), (jnp.zeros_like(x), jnp.zeros_like(x))

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """The vector of its own, and g_i + c_i."""
        own, g = memory
        return own, g + received
