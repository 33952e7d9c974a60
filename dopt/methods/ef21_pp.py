"""EF21-PP: EF21 where only r of the n workers take part in a round.

    g_i^0 = C(∇f_i(x⁰)) for all i: everybody takes part in the first round
    for k = 1, 2, ...:
        1. the server broadcasts x^k to r workers, drawn without replacement
        2. each of them sends c_i = C(∇f_i(x^k) − g_i^{k−1}) and sets g_i^k = g_i^{k−1} + c_i;
           the others keep g_i^k = g_i^{k−1}
        3. the server sets g^k = g^{k−1} + (1/n) Σ c_i and x^{k+1} = x^k − γ g^k

| letter | meaning |
|---|---|
| γ | `step_size`; theory: that of EF21 with α·r/n for α |
| r | `participants` |
| g_i | memory of worker i; g their mean, memory of the server |

Source: Fatkhullin, Sokolov, Gorbunov, Li, Richtárik, "EF21 with bells & whistles", 2021
(arXiv 2110.03294), Algorithm 4. With r = n it is EF21.
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
from dopt.methods._local import Shifted
from dopt.methods._single import check_single
from dopt.policies import Policy, SampledRounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import ef21_pp_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EF21PP(Shifted):
    """EF21 with partial participation."""

    name: ClassVar[str] = "EF21-PP"
    step_size: Any
    compressor: Compressor = field(metadata={"static": True})
    participants: int = field(metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of sampled workers, the first one of all."""
        self.check(d, costs.n)
        everyone = pattern(range(costs.n), weight=1.0 / costs.n)
        return SampledRounds(everyone, self.participants, full=everyone)

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
        return memory, problem.local_grad(models[0], job.worker) - memory

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ of `ef21_pp_step_size`."""
        L, L_plus = (constants.need(name, self.name) for name in ("L", "L_plus"))
        alpha = contraction_of(self.compressor, d)
        return ef21_pp_step_size(L, L_plus, alpha, self.participants / n)
