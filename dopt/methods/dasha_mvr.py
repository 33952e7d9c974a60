"""DASHA-MVR: DASHA on variance-reduced momenta of stochastic gradients.

    h_i^0 = g_i^0 = the mean of `first` stochastic gradients at x⁰, sent dense
    for k = 1, 2, ...:
        1. the server broadcasts x^k
        2. worker i draws b samples ξ and sets
           h_i^k = ∇f_i(x^k; ξ) + (1 − b_m)(h_i^{k−1} − ∇f_i(x^{k−1}; ξ)),
           sends m_i = C_i(h_i^k − h_i^{k−1} − a(g_i^{k−1} − h_i^{k−1})), g_i^k = g_i^{k−1} + m_i
        3. the server sets g^k = g^{k−1} + (1/n) Σ m_i and x^{k+1} = x^k − γ g^k

A round evaluates two models on the same samples; both are counted.

| letter | meaning |
|---|---|
| γ | `step_size`; theory: `dasha_mvr_step_size`, which needs more than a problem's constants |
| b_m | `momentum`, in (0, 1] |
| b | `batch`, stochastic gradients at either model |
| a | 1/(2ω + 1) |
| h_i, g_i | memory of worker i; g the mean of the g_i, memory of the server |

Source: Tyurin, Richtárik, "DASHA", 2022 (arXiv 2202.01268), Algorithm 1, stochastic setting (MVR).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Unbiased
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Memory, Optimizer
from dopt.methods._job import Job
from dopt.methods._local import check_batch, local_gradient
from dopt.methods._single import check_single
from dopt.methods.dasha import FULL, Corrected
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Problem


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DASHAMVR(Corrected):
    """DASHA for stochastic gradients, with momentum variance reduction."""

    name: ClassVar[str] = "DASHA-MVR"
    reads: ClassVar[int] = 2
    step_size: Any
    compressor: Unbiased = field(metadata={"static": True})
    momentum: float = field(metadata={"static": True})
    batch: int = field(default=1, metadata={"static": True})
    first: int = field(default=1, metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)
        check_batch(self.batch, exact=False)
        check_batch(self.first, exact=False)
        if not 0 < self.momentum <= 1:
            raise ConfigurationError(f"momentum = {self.momentum} must lie in (0, 1]")

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, the first one dense."""
        self.check(d, costs.n)
        everyone, weight = range(costs.n), 1.0 / costs.n
        return Rounds(
            pattern(everyone, gradients=2 * self.batch, weight=weight),
            pattern(everyone, gradients=self.first, dense=True, weight=weight),
        )

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """The first h_i, later its compressed difference with the correction."""
        if job.phase == FULL:
            h = local_gradient(problem, models[0], job.worker, self.first, key)
            return self.message(memory, h, job)
        now, before = (local_gradient(problem, x, job.worker, self.batch, key) for x in models[:2])
        return self.message(memory, now + (1 - self.momentum) * (memory[0] - before), job)
