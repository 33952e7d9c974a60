"""MARINA: compressed gradient differences, and now and then a dense round for all.

    for k = 0, 1, ...:
        1. one coin for all: c^k = 1 with probability p, and c^0 = 1
        2. worker i sends ∇f_i(x^k) if c^k = 1, else Q_i(∇f_i(x^k) − ∇f_i(x^{k−1}))
        3. the server sets g^k = (1/n) Σ of these if c^k = 1, else g^{k−1} + (1/n) Σ of these,
           and x^{k+1} = x^k − γ g^k

A compressed round evaluates two gradients on each worker, a dense one only one; both are counted.

| letter | meaning |
|---|---|
| γ | `step_size`; theory: 1/(L + L_+ √((1−p)ω/(pn))) for independent Q_i ∈ U(ω) |
| p | probability of a dense round |
| g | the estimator, memory of the server; it is biased after the first compressed round |

Source: Gorbunov, Burlachenko, Li, Richtárik, "MARINA", 2021 (arXiv 2102.07845), Algorithm 1,
Theorem 2.1. With p = 1 or the identity it is gradient descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from compressors import Compressor
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Job, Memory, Method, Optimizer
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Problem


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MARINA(Method):
    """Compressed gradient differences with a shared coin."""

    name: ClassVar[str] = "MARINA"
    reads: ClassVar[int] = 2
    step_size: Any
    compressor: Compressor = field(metadata={"static": True})
    p: float = field(metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ConfigurationError(f"p = {self.p} must lie in (0, 1]; K/d is usual for RandK")

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, dense ones by the shared coin."""
        self.compressor.check(d)
        everyone, weight = range(costs.n), 1.0 / costs.n
        return Rounds(
            usual=pattern(everyone, gradients=2, weight=weight),
            dense=pattern(everyone, gradients=1, dense=True, weight=weight),
            p=self.p,
        )

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """The server keeps g; the first round is dense and sets it."""
        return jnp.zeros_like(x), ()

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " d"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> Float[Array, " d"]:
        """∇f_i(x^k), less ∇f_i(x^{k−1}) in a compressed round."""
        gradient = problem.local_grad(models[0], job.worker)
        if job.dense:
            return gradient
        return gradient - problem.local_grad(models[1], job.worker)

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"]
    ) -> Memory:
        """Workers keep nothing."""
        return memory

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], dense: Bool[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The mean of dense gradients, or g plus the mean of compressed differences."""
        g = jnp.where(dense, total, memory + total)
        return g, g
