"""Kimad: EF21 in both directions, compressed to what the links are believed to carry.

    x̂^0 = x⁰, û_i^{-1} = 0
    for k = 0, 1, ...:
        1. the policy gives every message a budget c: what its link is believed to carry in its
           share of a round's time (`dopt.policies.budgets`)
        2. worker i sends C_i^k(∇f_i(x̂^k) − û_i^{k−1}), with C_i^k chosen from a family Ω under its
           budget, and sets û_i^k = û_i^{k−1} + what it sent
        3. the server sets û^k = û^{k−1} + (1/n) Σ of these, x^{k+1} = x^k − γ û^k
        4. it broadcasts C^k(x^{k+1} − x̂^k), chosen in the same way, and all set x̂^{k+1} to x̂^k
           plus that

Which compressor was chosen travels with the message, so that both ends hold the same û_i and x̂.
Kimad chooses one ratio for all layers, the largest that fits (`Uniform`); Kimad+ one for each
layer, by a knapsack (`Knapsack`): its message is padded to the budget, so that times need no
values.

| letter | meaning |
|---|---|
| γ | `step_size`; theory: 1/((1 + ρ_s)(L + (1 + √(1−α_s)) ρ L_+)), ρ = √(β/θ) of EF21 |
| Ω | the ladders of `compressor` and `server_compressor`, one a layer |
| α, α_s | contraction constants of their lowest rungs: of the smallest message |
| û_i, x̂ | memory of worker i, and what all know of the model |
| b | `batch`: the mean of b stochastic gradients for ∇f_i; exact where it is `None` |

Source: Xin, Ilin, Zhang, Canini, Richtárik, "Kimad", 2023 (arXiv 2312.08053), as it is remembered;
that all workers share one broadcast, within the smallest of their budgets, is our reading. The step
size is ours (`dopt.theory.ef21_bidirectional_step_size`). With budgets for whole vectors it is
gradient descent, with one that is fixed EF21 in both directions.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import Budgeted
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Memory, Method, Optimizer, Server
from dopt.methods._job import Job
from dopt.methods._local import check_batch, local_gradient
from dopt.methods._single import dtype_of
from dopt.policies import BudgetRounds, Policy, Sizes, Spending
from dopt.problems import Constants, Problem
from dopt.theory import ef21_bidirectional_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Kimad(Method):
    """EF21 both ways, with messages that follow the bandwidth."""

    name: ClassVar[str] = "Kimad"
    stateful: ClassVar[bool] = True
    step_size: Any
    compressor: Budgeted = field(metadata={"static": True})
    server_compressor: Budgeted = field(metadata={"static": True})
    spending: Spending | None = field(metadata={"static": True})
    batch: int | None = field(default=None, metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_batch(self.batch)

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, one message each way within its budget."""
        self.check(d, costs.n)
        if self.spending is None:
            raise ConfigurationError(
                "this Kimad has no spending, and so no policy; give RoundTime or FixedBudget"
            )
        dtype = dtype_of(costs, d)
        up, down = (_sizes(c, dtype) for c in (self.compressor, self.server_compressor))
        return BudgetRounds(costs, self.spending, up, down, self.batch or 1)

    def computing(self) -> "Kimad":
        """Without the spending: budgets come with the jobs."""
        return replace(self, spending=None)

    def check(self, d: int, n: int) -> None:
        """Raises `ValueError` where a compressor has other layers than d entries in all."""
        self.compressor.check(d)
        self.server_compressor.check(d)

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """On the server x̂ = x⁰ and û = 0, on every worker û_i = 0."""
        return (x, jnp.zeros_like(x)), jnp.zeros_like(x)

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """∇f_i(x̂^k) − û_i."""
        gradient = local_gradient(problem, models[0], job.worker, self.batch, key)
        return memory, gradient - memory

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """û_i and what was sent."""
        return memory + received

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The new û."""
        known, mean = memory
        return mean + total, (known, mean + total)

    def publish(
        self, memory: Memory, x: Float[Array, " d"], budget: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Memory:
        """x̂ and what is sent of x − x̂ within the budget."""
        known, mean = memory
        within = self.server_compressor.within(budget)
        return known + within.expand(within.compress(x - known, key=key)), mean

    def broadcast(self, server: Server) -> Float[Array, " d"]:
        """x̂, which workers put together from the news."""
        return server.memory[0]

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ with the α of the smallest messages: it holds whatever the links do."""
        L, L_plus = (constants.need(name, self.name) for name in ("L", "L_plus"))
        up, down = self.compressor.contraction(d), self.server_compressor.contraction(d)
        return ef21_bidirectional_step_size(L, L_plus, up.value, down.value)


def _sizes(compressor: Budgeted, dtype: Any) -> Sizes:
    """What its messages may weigh."""

    def within(budget: int) -> int:
        return int(compressor.bits_within(budget, dtype))

    return Sizes(compressor.least_bits(dtype), compressor.most_bits(dtype), within)
