"""DCGD: gradient descent whose gradients travel compressed.

    for k = 0, 1, ...:
        1. the server broadcasts x^k
        2. worker i sends C_i(∇f_i(x^k)), unbiased
        3. x^{k+1} = x^k − (γ/n) Σ_i C_i(∇f_i(x^k))

Where the workers' data differ it stops at a floor: their gradients do not vanish at the optimum,
and compression is noise as large as they are. DIANA and MARINA have none.

| letter | meaning |
|---|---|
| γ | `step_size`; theory (convex f_i): 1/(L + 2ωL_max/n) |
| ω | variance constant of the unbiased `compressor`, or of a member of a joint family |

Source: Khirirat, Feyzmahdavian, Johansson, "Distributed learning with compressed gradients", 2018
(arXiv 1806.06573). With the identity it is gradient descent; with stochastic gradients, QSGD.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Joint, Unbiased
from dopt.costs import Costs
from dopt.methods._base import Memory, Optimizer, Stateless
from dopt.methods._constants import aggregate
from dopt.methods._job import Job
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import dcgd_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DCGD(Stateless):
    """Gradient descent with unbiased compression of the gradients themselves."""

    name: ClassVar[str] = "DCGD"
    step_size: Any
    compressor: Unbiased | Joint = field(metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, one compressed message each."""
        self.check(d, costs.n)
        return Rounds(pattern(range(costs.n), weight=1.0 / costs.n))

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
        """γ = 1/(L + 2ωL_max/n) for convex f_i; of a joint family A counts for ω/n."""
        L, L_max = (constants.need(name, self.name) for name in ("L", "L_max"))
        A, _ = aggregate(self.compressor, d, n)
        return dcgd_step_size(L, L_max, A * n, n)
