"""DIANA: compressed differences to a shift that every worker learns.

    h_i^0 = 0
    for k = 0, 1, ...:
        1. the server broadcasts x^k
        2. worker i sends m_i = C_i(g_i − h_i^k), g_i = ∇f_i(x^k),
           and sets h_i^{k+1} = h_i^k + a m_i
        3. the server sets g^k = h^k + (1/n) Σ m_i, h^{k+1} = h^k + (a/n) Σ m_i
           and x^{k+1} = x^k − γ g^k

| letter | meaning |
|---|---|
| γ | `step_size`; theory: 1/(L + L_+ √(ω/n)/θ), see `diana_step_size` |
| a | `shift`, how much of a message moves the shift; 1/(1 + ω) by default |
| h_i | the shift of worker i, its memory; h their mean, memory of the server |
| b | `batch`: g_i is the mean of b stochastic gradients; exact where it is `None` |

Sources: Mishchenko, Gorbunov, Takáč, Richtárik, "Distributed learning with compressed gradient
differences", 2019 (arXiv 1901.09269), Algorithm 1; Horváth et al., 2019 (arXiv 1904.05115). With
the identity it is gradient descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import Unbiased
from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods._base import Memory, Method, Optimizer
from dopt.methods._job import Job
from dopt.methods._local import check_batch, local_gradient
from dopt.methods._single import check_single
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import diana_step_size, shift_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DIANA(Method):
    """Compressed differences to learned shifts."""

    name: ClassVar[str] = "DIANA"
    stateful: ClassVar[bool] = True
    step_size: Any
    compressor: Unbiased = field(metadata={"static": True})
    shift: float | None = field(default=None, metadata={"static": True})
    batch: int | None = field(default=None, metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.compressor)
        check_batch(self.batch)
        if self.shift is not None and not self.shift > 0:
            raise ConfigurationError(f"shift = {self.shift} must be positive; 1/(1 + ω) is usual")

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, one compressed message each."""
        self.check(d, costs.n)
        return Rounds(pattern(range(costs.n), gradients=self.batch or 1, weight=1.0 / costs.n))

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """On the server h = 0, on every worker h_i = 0."""
        return jnp.zeros_like(x), jnp.zeros_like(x)

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """g_i − h_i."""
        gradient = local_gradient(problem, models[0], job.worker, self.batch, key)
        return memory, gradient - memory

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """h_i + a m_i."""
        return memory + self._shift(len(vector)) * received

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The estimator h + (1/n) Σ m_i, and the new h."""
        return memory + total, memory + self._shift(len(total)) * total

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ of `diana_step_size`, for nonconvex f."""
        L, L_plus = (constants.need(name, self.name) for name in ("L", "L_plus"))
        omega = self.compressor.omega(d).value
        return diana_step_size(L, L_plus, omega, n, self.shift)

    def _shift(self, d: int) -> float:
        return shift_step_size(self.compressor.omega(d).value) if self.shift is None else self.shift
