"""Asynchronous SGD: the server moves at every arrival, however old the model it was computed at.

    at each arrival of ∇f(x^{k−δ}; ξ) (δ server steps have passed since its model was read):
        1. γ_k = γ·min{1, δ_0/δ}                     delay-adaptive (`adaptive`), δ_0 = n
           or γ_k = γ if δ ≤ n, else skip it          the discard rule (`discard`)
        2. x^{k+1} = x^k − γ_k ∇f(x^{k−δ}; ξ)
        3. the worker reads x^{k+1} and begins again

| letter | meaning |
|---|---|
| γ | `step_size` |
| δ | delay of an arrival, in server steps |
| n | workers, which is also the concurrency τ_C of the analyses |

Sources: Koloskova, Stich, Jaggi, "Sharper convergence guarantees for asynchronous SGD", 2022
(arXiv 2206.08307: full step while δ ≤ τ_C, then of order 1/(Lδ)); Mishchenko, Bach, Even,
Woodworth, "Asynchronous SGD beats minibatch SGD under arbitrary delays", 2022 (arXiv 2206.07638).
The discard rule is that of the experiments of "Shadowheart SGD" (arXiv 2402.04785).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import optax

from compressors import Compressor, Identity
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import GradientMethod, Optimizer
from dopt.methods._single import check_single
from dopt.policies import EveryArrival, Policy


RULES = ("adaptive", "discard", "plain")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AsynchronousSGD(GradientMethod):
    """SGD that moves at every arrival; `rule` says what becomes of late gradients."""

    name: ClassVar[str] = "Asynchronous SGD"
    step_size: Any
    rule: Literal["adaptive", "discard", "plain"] = field(
        default="adaptive", metadata={"static": True}
    )
    compressor: Compressor = field(default=Identity(), metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ConfigurationError(f"rule = {self.rule!r} is none of {', '.join(RULES)}")
        check_single(self.name, self.compressor)

    def policy(self, costs: Costs, d: int) -> Policy:
        """A stream of arrivals, each of which moves the server."""
        return EveryArrival(
            full_weight_until=costs.n if self.rule == "adaptive" else None,
            max_delay=costs.n if self.rule == "discard" else None,
        )
