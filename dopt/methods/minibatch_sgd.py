"""Minibatch SGD: everyone computes one gradient, the server waits for all and averages.

    for k = 0, 1, ...:
        1. the server broadcasts x^k
        2. worker i sends ∇f(x^k; ξ_i), dense
        3. x^{k+1} = x^k − (γ/n) Σ_i ∇f(x^k; ξ_i)

| letter | meaning |
|---|---|
| γ | `step_size`; theory: min{1/L, nε/(2Lσ²)} |
| h_i + dτ̇_i | seconds of worker i in a round; a round takes the largest |

Source: the baseline of Table 1 in Tyurin, Pozzi, Ilin, Richtárik, "Shadowheart SGD", 2024
(arXiv 2402.04785). Without noise it is gradient descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax

from compressors import Compressor, Identity
from dopt.costs import Costs
from dopt.methods._base import GradientMethod, Optimizer
from dopt.policies import Policy, Rounds, pattern


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MinibatchSGD(GradientMethod):
    """Synchronous SGD on all workers, one gradient each."""

    name: ClassVar[str] = "Minibatch SGD"
    step_size: Any
    compressor: Compressor = field(default=Identity(), metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers."""
        return Rounds(pattern(range(costs.n), dense=True, weight=1.0 / costs.n))
