"""DASHA: compressed differences with a correction, no coins and no dense rounds after the first.

    g_i^0 = ∇f_i(x⁰), sent dense
    for k = 1, 2, ...:
        1. the server broadcasts x^k
        2. worker i sends m_i = C_i(∇f_i(x^k) − ∇f_i(x^{k−1}) − a(g_i^{k−1} − ∇f_i(x^{k−1})))
           and sets g_i^k = g_i^{k−1} + m_i
        3. the server sets g^k = g^{k−1} + (1/n) Σ m_i and x^{k+1} = x^k − γ g^k

A worker remembers ∇f_i(x^{k−1}), so that a round takes one gradient.

| letter | meaning |
|---|---|
| γ | `step_size`; theory: 1/(L + L_+ √(2ω(2ω+1)/n)), see `dasha_step_size` |
| a | 1/(2ω + 1) |
| h_i | ∇f_i(x^k), memory of worker i, like g_i; g the mean of the g_i, memory of the server |

Source: Tyurin, Richtárik, "DASHA", 2022 (arXiv 2202.01268), Algorithm 1. With ω = 0 it is gradient
descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Unbiased
from dopt.costs import Costs
from dopt.methods._base import Memory, Optimizer
from dopt.methods._job import Job
from dopt.methods._local import Following
from dopt.methods._single import check_single
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import dasha_step_size


FULL = 1
"""The phase of the first round."""


class Corrected(Following):
    """What DASHA and DASHA-MVR share: h_i estimates ∇f_i, and g_i follows it compressed."""

    compressor: Unbiased

    def message(
        self, memory: Memory, h: Float[Array, " d"], job: Job
    ) -> tuple[Memory, Float[Array, " d"]]:
        """The memory with the new h_i, and what is sent: h_i⁺ − h_i − a(g_i − h_i)."""
        before, g = memory
        if job.phase == FULL:
            return (h, g), h
        a = 1 / (2 * self.compressor.omega(len(h)).value + 1)
        return (h, g), h - before - a * (g - before)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DASHA(Corrected):
    """Compressed differences without synchronization, exact gradients."""

    name: ClassVar[str] = "DASHA"
    step_size: Any
    compressor: Unbiased = field(metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, the first one dense."""
        self.check(d, costs.n)
        everyone, weight = range(costs.n), 1.0 / costs.n
        return Rounds(
            pattern(everyone, weight=weight), pattern(everyone, dense=True, weight=weight)
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
        """∇f_i(x^k) at first, then its compressed difference with the correction."""
        return self.message(memory, problem.local_grad(models[0], job.worker), job)

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ = 1/(L + L_+ √(2ω(2ω+1)/n))."""
        L, L_plus = (constants.need(name, self.name) for name in ("L", "L_plus"))
        return dasha_step_size(L, L_plus, self.compressor.omega(d).value, n)
