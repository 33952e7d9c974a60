"""EF21: error feedback by compressed differences, for contractive (biased) compressors.

    g_i^{-1} = 0
    for k = 0, 1, ...:
        1. the server broadcasts x^k
        2. worker i sends c_i = C(∇f_i(x^k) − g_i^{k−1}) and sets g_i^k = g_i^{k−1} + c_i
        3. the server sets g^k = g^{k−1} + (1/n) Σ c_i and x^{k+1} = x^k − γ g^k

so that g_i^0 = C(∇f_i(x⁰)); its bits count like those of any round.

| letter | meaning |
|---|---|
| γ | `step_size`; theory: 1/(L + L_+ √(β/θ)), θ = 1 − √(1−α), β = (1−α)/θ |
| α | contraction constant of `compressor` |
| g_i | memory of worker i; g their mean, memory of the server |

Source: Richtárik, Sokolov, Fatkhullin, "EF21", 2021 (arXiv 2106.05203), Algorithm 2, Theorem 1.
With the identity it is gradient descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from compressors import Compressor
from dopt.costs import Costs
from dopt.methods._base import Job, Memory, Method, Optimizer
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Problem


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EF21(Method):
    """Gradient descent with compressed differences and memory on the workers."""

    name: ClassVar[str] = "EF21"
    stateful: ClassVar[bool] = True
    step_size: Any
    compressor: Compressor = field(metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, one compressed message each."""
        self.compressor.check(d)
        return Rounds(pattern(range(costs.n), weight=1.0 / costs.n))

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """On the server g = 0, on every worker g_i = 0."""
        return jnp.zeros_like(x), jnp.zeros_like(x)

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " d"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> Float[Array, " d"]:
        """∇f_i(x^k) − g_i."""
        return problem.local_grad(models[0], job.worker) - memory

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"]
    ) -> Memory:
        """g_i + c_i."""
        return memory + received

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], dense: Bool[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The new g: g + (1/n) Σ c_i."""
        g = memory + total
        return g, g
