"""Shadowheart SGD: everyone fast enough computes and sends as much as fits into t*.

    t*  = equilibrium time of (h, τ, ω, S)
    b_i = ⌊t*/h_i⌋,  m_i = ⌊t*/τ_i⌋,  active where both are at least 1
    w_i = 1/(b_i ω + ω S + m_i S),  N = Σ w_i m_i b_i
    for k = 0, 1, ...:
        1. the server broadcasts x^k to the active workers
        2. worker i computes g_i = Σ_{l ≤ b_i} ∇f(x^k; ξ_il)                  (a sum)
        3. worker i sends C_i1(g_i), ..., C_im_i(g_i), independent draws of the same g_i
        4. x^{k+1} = x^k − (γ/N) Σ_i w_i Σ_j C_ij(g_i)

| letter | meaning |
|---|---|
| γ | `step_size`; theory: 1/(2L), whatever σ², ω and n are |
| S | `noise_ratio` σ²/ε |
| ω | variance constant of the unbiased `compressor` |
| h_i, τ_i | seconds of one gradient, of one compressed message |

Where m_i messages would hold d numbers or more, the vector itself is sent once (ω_i = 0): the
authors' code clips m_i at ⌈d/K⌉ instead, which is the option `clip`; N may then fall below 1 and
the step size of theory becomes min(1, N)/(2L).

Source: Tyurin, Pozzi, Ilin, Richtárik, "Shadowheart SGD: distributed asynchronous SGD with optimal
time complexity under arbitrary computation and communication heterogeneity", 2024
(arXiv 2402.04785), static version.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import numpy as np
import optax

from compressors import Unbiased
from dopt.costs import Costs
from dopt.methods._base import GradientMethod, Optimizer
from dopt.methods._single import check_single
from dopt.policies import Policy, Rounds, pattern
from dopt.theory import Plan, plan


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ShadowheartSGD(GradientMethod):
    """SGD with b_i gradients and m_i compressed messages from every worker within t*."""

    name: ClassVar[str] = "Shadowheart SGD"
    step_size: Any
    compressor: Unbiased = field(metadata={"static": True})
    noise_ratio: float = field(metadata={"static": True})
    clip: bool = field(default=False, metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)

    def plan(self, costs: Costs, d: int) -> Plan:
        """The equilibrium time and the b_i, m_i, w_i that follow from it."""
        self.compressor.check(d)
        return plan(
            costs.h,
            costs.tau,
            self.compressor.omega(d).value,
            self.noise_ratio,
            full_messages=costs.dense_bits / costs.message_bits,
            clip_number_of_communications=self.clip,
        )

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of the active workers."""
        p = self.plan(costs, d)
        active = np.flatnonzero(p.messages)
        b, m = p.gradients[active], p.messages[active]
        # The mean of m messages counts with m, since each of them has weight w.
        weight = p.weights[active] * m / p.N
        return Rounds(
            pattern(active, gradients=b, messages=m, dense=p.dense[active], weight=weight)
        )
