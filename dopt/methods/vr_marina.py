"""VR-MARINA: MARINA whose compressed rounds sample.

    for k = 0, 1, ...:
        1. one coin for all: c^k = 1 with probability p, and c^0 = 1
        2. worker i sends ∇f_i(x^k), dense, if c^k = 1; else it draws b samples ξ and sends
           Q_i(∇f_i(x^k; ξ) − ∇f_i(x^{k−1}; ξ))
        3. the server sets g^k = (1/n) Σ of these if c^k = 1, else g^{k−1} + (1/n) Σ of these,
           and x^{k+1} = x^k − γ g^k

| letter | meaning |
|---|---|
| γ | `step_size`; theory: `vr_marina_step_size`, which needs more than a problem's constants |
| p | probability of a full round |
| b | `batch`, stochastic gradients at either model in a compressed round |
| `full` | what an exact gradient costs, in stochastic ones |

Source: Gorbunov, Burlachenko, Li, Richtárik, "MARINA", 2021 (arXiv 2102.07845), Algorithm 2. With
p = 1 it is gradient descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Joint, Unbiased
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Memory, Optimizer
from dopt.methods._job import Job
from dopt.methods._local import check_batch, local_gradient
from dopt.methods.marina import FULL, Differences
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Problem


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VRMARINA(Differences):
    """MARINA with mini-batches in compressed rounds, for finite sums."""

    name: ClassVar[str] = "VR-MARINA"
    step_size: Any
    compressor: Unbiased | Joint = field(metadata={"static": True})
    p: float = field(metadata={"static": True})
    batch: int = field(default=1, metadata={"static": True})
    full: int = field(default=1, metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_batch(self.batch, exact=False)
        if self.full < 1:
            raise ConfigurationError(f"full = {self.full}; an exact gradient costs at least 1")

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, full ones by the shared coin."""
        self.check(d, costs.n)
        everyone, weight = range(costs.n), 1.0 / costs.n
        return Rounds(
            usual=pattern(everyone, gradients=2 * self.batch, weight=weight),
            full=pattern(everyone, gradients=self.full, dense=True, weight=weight),
            p=self.p,
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
        """∇f_i(x^k), or a difference over the same samples."""
        if job.phase == FULL:
            return memory, problem.local_grad(models[0], job.worker)
        now, before = (local_gradient(problem, x, job.worker, self.batch, key) for x in models[:2])
        return memory, now - before
