"""QSGD (batch-compressed SGD, DCGD): Minibatch SGD whose gradients travel compressed.

    for k = 0, 1, ...:
        1. the server broadcasts x^k
        2. worker i sends C_i(∇f(x^k; ξ_i)), C_i ∈ U(ω) independent
        3. x^{k+1} = x^k − (γ/n) Σ_i C_i(∇f(x^k; ξ_i))

| letter | meaning |
|---|---|
| γ | `step_size`; theory: min{1/(L(1 + ω/n)), nε/(2(1+ω)Lσ²)} (homogeneous data) |
| ω | variance constant of the unbiased `compressor` |
| h_i + τ_i | seconds of worker i in a round; a round takes the largest |

Source: Alistarh, Grubic, Li, Tomioka, Vojnovic, "QSGD", 2017 (arXiv 1610.02132), with any unbiased
compressor; the baseline of Table 1 in "Shadowheart SGD", 2024 (arXiv 2402.04785). With the
identity it is Minibatch SGD.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax

from compressors import Compressor, Joint
from dopt.costs import Costs
from dopt.methods._base import GradientMethod, Optimizer
from dopt.policies import Policy, Rounds, pattern


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class QSGD(GradientMethod):
    """Synchronous SGD with unbiased compression."""

    name: ClassVar[str] = "QSGD"
    step_size: Any
    compressor: Compressor | Joint = field(metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, one compressed message each."""
        self.check(d, costs.n)
        return Rounds(pattern(range(costs.n), weight=1.0 / costs.n))
