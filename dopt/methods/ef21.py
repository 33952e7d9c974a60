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
| b | `batch`: the mean of b stochastic gradients for ∇f_i; exact where it is `None` |

Source: Richtárik, Sokolov, Fatkhullin, "EF21", 2021 (arXiv 2106.05203), Algorithm 2, Theorem 1.
With the identity it is gradient descent. With few samples (`batch`) it is Algorithm 5 there, and
need not converge; EF21-SGDM does.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Compressor
from dopt.costs import Costs
from dopt.methods._base import Memory, Optimizer
from dopt.methods._constants import contraction_of
from dopt.methods._job import Job
from dopt.methods._local import Shifted, check_batch, local_gradient
from dopt.methods._single import check_single
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import ef21_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EF21(Shifted):
    """Gradient descent with compressed differences and memory on the workers."""

    name: ClassVar[str] = "EF21"
    step_size: Any
    compressor: Compressor = field(metadata={"static": True})
    batch: int | None = field(default=None, metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)
        check_batch(self.batch)

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, one compressed message each."""
        self.check(d, costs.n)
        return Rounds(pattern(range(costs.n), gradients=self.batch or 1, weight=1.0 / costs.n))

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """∇f_i(x^k) − g_i."""
        gradient = local_gradient(problem, models[0], job.worker, self.batch, key)
        return memory, gradient - memory

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ = 1/(L + L_+ √(β/θ))."""
        L, L_plus = (constants.need(name, self.name) for name in ("L", "L_plus"))
        return ef21_step_size(L, L_plus, contraction_of(self.compressor, d))
