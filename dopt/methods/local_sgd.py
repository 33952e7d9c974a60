"""Local SGD (FedAvg): workers take H steps of their own, the server averages their models.

    for k = 0, 1, ...:
        1. the server broadcasts x^k to all workers, or to r of them, drawn without replacement
        2. worker i: y = x^k;  H times  y ← y − γ∇f_i(y; ξ);  it sends (x^k − y)/γ
        3. x^{k+1} = x^k − γ·(the mean of what was sent), the mean of the workers' models

What is sent may be compressed (FedPAQ). With another optimizer on the server it is FedOpt.

| letter | meaning |
|---|---|
| γ | `step_size`, of a local step; theory: `local_sgd_step_size` |
| H | `local_steps` |
| b | `batch`, stochastic gradients that a local step averages; exact where it is `None` |
| r | `participants`; all where it is `None` |

Sources: McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-efficient learning of deep
networks from decentralized data", 2016 (arXiv 1602.05629), Algorithm 1; Stich, "Local SGD converges
fast and communicates little", 2018 (arXiv 1805.09767). With H = 1 it is Minibatch SGD.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import Compressor, Identity
from compressors.kernels.threefry import fold_in
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Memory, Optimizer, Stateless
from dopt.methods._job import Job
from dopt.methods._local import check_batch, local_gradient
from dopt.methods._single import check_single
from dopt.policies import Policy, Rounds, SampledRounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import local_sgd_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LocalSGD(Stateless):
    """Federated averaging: H local steps between two messages."""

    name: ClassVar[str] = "Local SGD"
    step_size: Any
    local_steps: int = field(metadata={"static": True})
    batch: int | None = field(default=1, metadata={"static": True})
    participants: int | None = field(default=None, metadata={"static": True})
    compressor: Compressor = field(default=Identity(), metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)
        check_batch(self.batch)
        if self.local_steps < 1:
            raise ConfigurationError(f"local_steps = {self.local_steps} must be at least 1")
        if self.participants is not None and self.participants < 1:
            raise ConfigurationError(
                f"participants = {self.participants}; at least one worker takes part in a round"
            )

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, or of sampled ones."""
        self.check(d, costs.n)
        r = costs.n if self.participants is None else self.participants
        gradients = self.local_steps * (self.batch or 1)
        usual = pattern(range(costs.n), gradients=gradients, weight=1.0 / r)
        return Rounds(usual) if self.participants is None else SampledRounds(usual, r)

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """The sum of the gradients of H local steps."""

        def descend(step: Int[Array, ""], total: Float[Array, " d"]) -> Float[Array, " d"]:
            y = models[0] - self.step_size * total
            draw = fold_in(key, step)
            return total + local_gradient(problem, y, job.worker, self.batch, draw)

        # The first gradient is drawn as Minibatch SGD draws it.
        first = local_gradient(problem, models[0], job.worker, self.batch, key)
        return memory, jax.lax.fori_loop(1, self.local_steps, descend, first)

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ of `local_sgd_step_size` for data that are equal (D = 1)."""
        L, L_max = (constants.need(name, self.name) for name in ("L", "L_max"))
        return local_sgd_step_size(L, L_max, self.local_steps)
