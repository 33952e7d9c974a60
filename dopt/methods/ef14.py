"""EF14: classical error feedback; what compression left out is sent later.

    e_i^0 = 0
    for k = 0, 1, ...:
        1. the server broadcasts x^k
        2. worker i sends c_i = C(e_i^k + g_i), g_i = ∇f_i(x^k),
           and sets e_i^{k+1} = e_i^k + g_i − c_i
        3. x^{k+1} = x^k − (γ/n) Σ c_i

The errors are those of the papers over γ, which is the same for a constant γ and a C that commutes
with scaling, and leaves the server's step to any optimizer.

| letter | meaning |
|---|---|
| γ | `step_size`; theory (equal data): 1/(L(2 + √(2β/θ))), see `ef14_step_size` |
| e_i | the error of worker i, its memory |
| b | `batch`: g_i is the mean of b stochastic gradients; exact where it is `None` |

Sources: Seide, Fu, Droppo, Li, Yu, "1-bit stochastic gradient descent", Interspeech 2014; Stich,
Karimireddy, "The error-feedback framework", 2019 (arXiv 1909.05350). With the identity it is
gradient descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import Compressor
from dopt.costs import Costs
from dopt.methods._base import Memory, Method, Optimizer
from dopt.methods._constants import contraction_of
from dopt.methods._job import Job
from dopt.methods._local import check_batch, local_gradient
from dopt.methods._single import check_single
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import ef14_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EF14(Method):
    """Error feedback by adding up what was not sent."""

    name: ClassVar[str] = "EF14"
    stateful: ClassVar[bool] = True
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

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """Nothing on the server, on every worker e_i = 0."""
        return (), jnp.zeros_like(x)

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """e_i + g_i."""
        return memory, memory + local_gradient(problem, models[0], job.worker, self.batch, key)

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """What was not sent."""
        return vector - received

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The mean of what was sent."""
        return total, memory

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ of `ef14_step_size` for equal data (D = 1): bounds of dissimilarity are rare."""
        return ef14_step_size(constants.need("L", self.name), contraction_of(self.compressor, d))
