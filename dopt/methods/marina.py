"""MARINA: compressed gradient differences, and now and then a full round for all.

    for k = 0, 1, ...:
        1. one coin for all: c^k = 1 with probability p, and c^0 = 1
        2. worker i sends ∇f_i(x^k), dense, if c^k = 1, else Q_i(∇f_i(x^k) − ∇f_i(x^{k−1}))
        3. the server sets g^k = (1/n) Σ of these if c^k = 1, else g^{k−1} + (1/n) Σ of these,
           and x^{k+1} = x^k − γ g^k

A compressed round evaluates two gradients on each worker, a full one only one; both are counted.
The Q_i may be independent, or a joint family such as PermK or correlated quantization, whose coin
is drawn afresh each round: only the error of their mean counts, by its constants A and B.

| letter | meaning |
|---|---|
| γ | `step_size`; theory: 1/(L + √((1−p)/p · ((A − B)L_+² + B·L_±²))) |
| A, B | of the mean of n messages; ω/n and 0 where they are independent |
| p | probability of a full round |
| g | the estimator, memory of the server; it is biased after the first compressed round |

Sources: Gorbunov, Burlachenko, Li, Richtárik, "MARINA", 2021 (arXiv 2102.07845), Algorithm 1,
Theorem 2.1; Szlendak, Tyurin, Richtárik, "Permutation compressors", 2021 (arXiv 2110.03300) for A
and B; Panferov, Demidovich, Rammal, Richtárik, "Correlated quantization for faster nonconvex
distributed optimization", 2024 (arXiv 2401.05518). With p = 1 or the identity it is gradient
descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import Joint, Unbiased
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Memory, Method, Optimizer
from dopt.methods._constants import aggregate
from dopt.methods._job import Job
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import marina_step_size


FULL = 1
"""The phase of a full round."""


class Differences(Method):
    """What MARINA, VR-MARINA and PP-MARINA share: the estimator, and its probability p."""

    reads: ClassVar[int] = 2
    compressor: Unbiased | Joint
    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ConfigurationError(f"p = {self.p} must lie in (0, 1]; K/d is usual for RandK")

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """The server keeps g; the first round is full and sets it."""
        return jnp.zeros_like(x), ()

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """Workers keep nothing."""
        return memory

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The mean of gradients, or g plus the mean of compressed differences."""
        g = jnp.where(phase == FULL, total, memory + total)
        return g, g


class ExactDifferences(Differences):
    """What MARINA and PP-MARINA send: exact gradients and their differences."""

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """∇f_i(x^k), less ∇f_i(x^{k−1}) in a compressed round."""
        gradient = problem.local_grad(models[0], job.worker)
        if job.phase == FULL:
            return memory, gradient
        return memory, gradient - problem.local_grad(models[1], job.worker)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MARINA(ExactDifferences):
    """Compressed gradient differences with a shared coin."""

    name: ClassVar[str] = "MARINA"
    step_size: Any
    compressor: Unbiased | Joint = field(metadata={"static": True})
    p: float = field(metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, full ones by the shared coin."""
        self.check(d, costs.n)
        everyone, weight = range(costs.n), 1.0 / costs.n
        return Rounds(
            usual=pattern(everyone, gradients=2, weight=weight),
            full=pattern(everyone, gradients=1, dense=True, weight=weight),
            p=self.p,
        )

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ = 1/(L + √((1−p)/p · ((A − B)L_+² + B·L_±²))).

        Where L_± = 0 all send the same differences, and the constants for equal inputs hold.
        """
        L, L_plus, L_pm = (constants.need(name, self.name) for name in ("L", "L_plus", "L_pm"))
        A, B = aggregate(self.compressor, d, n, equal=L_pm == 0)
        return marina_step_size(L, L_plus, L_pm, A, B, self.p)
