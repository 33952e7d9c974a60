"""EF21-SGDM: EF21 on a momentum of stochastic gradients.

    v_i^0 = ∇f_i(x⁰; ξ),  g_i^{-1} = 0
    for k = 0, 1, ...:
        1. the server broadcasts x^k
        2. worker i sets v_i^k = (1 − η)v_i^{k−1} + η∇f_i(x^k; ξ)       (k > 0),
           sends c_i = C(v_i^k − g_i^{k−1}) and sets g_i^k = g_i^{k−1} + c_i
        3. the server sets g^k = g^{k−1} + (1/n) Σ c_i and x^{k+1} = x^k − γ g^k

| letter | meaning |
|---|---|
| γ | `step_size`; theory: `ef21_sgdm_step_size` |
| η | `momentum`, the weight of the newest gradient, in (0, 1] |
| b | `batch`: ∇f_i(x; ξ) is the mean of b stochastic gradients; exact where it is `None` |
| v_i, g_i | memory of worker i; g the mean of the g_i, memory of the server |

Source: Fatkhullin, Tyurin, Richtárik, "Momentum provably improves error feedback!", 2023
(arXiv 2305.15155), Algorithm 1. With η = 1 it is EF21.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Compressor
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Memory, Optimizer
from dopt.methods._constants import contraction_of
from dopt.methods._job import Job
from dopt.methods._local import Following, check_batch, local_gradient
from dopt.methods._single import check_single
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import ef21_sgdm_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EF21SGDM(Following):
    """EF21 with momentum on the workers, for stochastic gradients."""

    name: ClassVar[str] = "EF21-SGDM"
    step_size: Any
    compressor: Compressor = field(metadata={"static": True})
    momentum: float = field(metadata={"static": True})
    batch: int | None = field(default=1, metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)
        check_batch(self.batch)
        if not 0 < self.momentum <= 1:
            raise ConfigurationError(
                f"momentum = {self.momentum}, the weight of the newest gradient, must lie in (0, 1]"
            )

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
        """The new v_i, less g_i."""
        v, g = memory
        gradient = local_gradient(problem, models[0], job.worker, self.batch, key)
        v = jnp.where(job.job == 0, gradient, v + self.momentum * (gradient - v))
        return (v, g), v - g

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ of `ef21_sgdm_step_size`."""
        L, L_plus = (constants.need(name, self.name) for name in ("L", "L_plus"))
        return ef21_sgdm_step_size(L, L_plus, contraction_of(self.compressor, d), self.momentum)
