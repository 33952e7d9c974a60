"""PP-MARINA: MARINA where only r of the n workers take part in compressed rounds.

    for k = 0, 1, ...:
        1. one coin for all: c^k = 1 with probability p, and c^0 = 1
        2. if c^k = 1, every worker sends ∇f_i(x^k), dense; else r workers, drawn without
           replacement, send Q_i(∇f_i(x^k) − ∇f_i(x^{k−1}))
        3. the server sets g^k = (1/n) Σ of these if c^k = 1, else g^{k−1} + (1/r) Σ of these,
           and x^{k+1} = x^k − γ g^k

| letter | meaning |
|---|---|
| γ | `step_size`; theory: that of MARINA with the A and B of a sample, `sampled_ab` |
| p | probability of a full round |
| r | `participants` |

Source: Gorbunov, Burlachenko, Li, Richtárik, "MARINA", 2021 (arXiv 2102.07845), Algorithm 4, which
draws with replacement: without, the variance is never larger. With r = n it is MARINA.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax

from compressors import Unbiased
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Optimizer
from dopt.methods._single import check_single
from dopt.methods.marina import ExactDifferences
from dopt.policies import Policy, SampledRounds, pattern
from dopt.problems import Constants
from dopt.theory import marina_step_size, sampled_ab


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PPMARINA(ExactDifferences):
    """MARINA with partial participation; compressors are independent."""

    name: ClassVar[str] = "PP-MARINA"
    step_size: Any
    compressor: Unbiased = field(metadata={"static": True})
    p: float = field(metadata={"static": True})
    participants: int = field(metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_single(self.name, self.compressor)
        if self.participants < 1:
            raise ConfigurationError(
                f"participants = {self.participants}; at least one worker takes part in a round"
            )

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of sampled workers, full ones of all by the shared coin."""
        self.check(d, costs.n)
        everyone = range(costs.n)
        return SampledRounds(
            usual=pattern(everyone, gradients=2, weight=1.0 / self.participants),
            r=self.participants,
            full=pattern(everyone, gradients=1, dense=True, weight=1.0 / costs.n),
            p=self.p,
        )

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ of MARINA with A and B of a sample."""
        L, L_plus, L_pm = (constants.need(name, self.name) for name in ("L", "L_plus", "L_pm"))
        r = self.participants
        A, B = sampled_ab(self.compressor.omega(d).value / r, 0.0, n, r)
        return marina_step_size(L, L_plus, L_pm, A, B, self.p)
