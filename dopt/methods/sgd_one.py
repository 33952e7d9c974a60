"""SGD One: the fastest worker alone, without any communication.

    i* = argmin_i h_i
    for k = 0, 1, ...:   x^{k+1} = x^k − γ ∇f(x^k; ξ)      on worker i*, h_{i*} seconds each

| letter | meaning |
|---|---|
| γ | `step_size`; theory: min{1/L, ε/(2Lσ²)} |

Source: the baseline "SGD One" of "Shadowheart SGD", 2024 (arXiv 2402.04785).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import numpy as np
import optax

from compressors import Compressor, Identity
from dopt.costs import Costs
from dopt.methods._base import GradientMethod, Optimizer
from dopt.policies import Policy, Rounds, pattern


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SGDOne(GradientMethod):
    """SGD on the fastest worker."""

    name: ClassVar[str] = "SGD One"
    step_size: Any
    compressor: Compressor = field(default=Identity(), metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of one worker that sends nothing; the first one where several are fastest."""
        fastest = int(np.argmin(costs.h))
        return Rounds(pattern([fastest], messages=0, dense=True, weight=1.0))
