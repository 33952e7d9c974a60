"""Rennala SGD: collect B gradients of the current model from whoever is fast, then move.

    for k = 0, 1, ...:
        1. every idle worker computes ∇f(x^k; ξ) again and again
        2. the server collects the first B gradients computed at x^k; stale ones are ignored
        3. x^{k+1} = x^k − (γ/B) Σ ∇f(x^k; ξ)

| letter | meaning |
|---|---|
| γ | `step_size`; theory: min{1/L, εB/(2Lσ²)} |
| B | `batch`; theory: max{1, ⌈σ²/ε⌉} |

A worker whose job has become stale finishes it first (as in the authors' simulator) or, with
`stop`, drops it at once (as in the paper's analysis).

Source: Tyurin, Richtárik, "Optimal time complexities of parallel stochastic optimization methods
under a fixed computation model", 2023 (arXiv 2305.12387). With equal workers, B = n and
`stop` it is Minibatch SGD; without `stop` the first of simultaneous arrivals begin a stale job.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax

from compressors import Compressor, Identity
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import GradientMethod, Optimizer
from dopt.methods._single import check_single
from dopt.policies import FreshBatch, Policy


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RennalaSGD(GradientMethod):
    """SGD on batches of B fresh gradients from whoever is fast."""

    name: ClassVar[str] = "Rennala SGD"
    step_size: Any
    batch: int = field(metadata={"static": True})
    stop: bool = field(default=False, metadata={"static": True})
    compressor: Compressor = field(default=Identity(), metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)
        if self.batch < 1:
            raise ConfigurationError(f"batch = {self.batch} must be at least 1")

    def policy(self, costs: Costs, d: int) -> Policy:
        """Batches of fresh gradients."""
        return FreshBatch(self.batch, self.stop)
