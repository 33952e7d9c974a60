"""Gradient descent: every worker sends its exact gradient, uncompressed.

    for k = 0, 1, ...:
        1. the server broadcasts x^k
        2. worker i sends ∇f_i(x^k), dense
        3. x^{k+1} = x^k − (γ/n) Σ_i ∇f_i(x^k)

| letter | meaning |
|---|---|
| γ | `step_size`; theory: 1/L |

The parent of DCGD, which compresses gradients, of EF21, MARINA, DASHA and DIANA, which compress
differences, and of Minibatch SGD, which samples.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Compressor, Identity
from dopt.costs import Costs
from dopt.methods._base import Memory, Optimizer, Stateless
from dopt.methods._job import Job
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import gradient_descent_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientDescent(Stateless):
    """Gradient descent on the mean of the workers' functions."""

    name: ClassVar[str] = "Gradient descent"
    step_size: Any
    compressor: Compressor = field(default=Identity(), metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers."""
        return Rounds(pattern(range(costs.n), dense=True, weight=1.0 / costs.n))

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """∇f_i(x^k)."""
        return memory, problem.local_grad(models[0], job.worker)

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ = 1/L."""
        return gradient_descent_step_size(constants.need("L", self.name))
