"""EF21-P: the model travels compressed on its way down.

    w^0 = x⁰
    for k = 0, 1, ...:
        1. worker i sends ∇f_i(w^k), or C_i(∇f_i(w^k)) where `compressor` is not the identity
        2. x^{k+1} = x^k − (γ/n) Σ_i of these
        3. the server broadcasts p = C_s(x^{k+1} − w^k), and all set w^{k+1} = w^k + p

| letter | meaning |
|---|---|
| γ | `step_size`; theory (uncompressed uplink): 1/(L(1 + √(β/θ))) with the α of C_s |
| C_s | `server_compressor`, contractive |
| w | the model that workers have, memory of the server |

Source: Gruntkowska, Tyurin, Richtárik, "EF21-P and friends", 2022 (arXiv 2209.15218), Algorithm 1.
With the identity on both ways it is gradient descent.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import Compressor, Identity, Joint
from dopt.costs import Costs
from dopt.errors import UnsupportedError
from dopt.methods._base import Memory, Method, Optimizer, Server
from dopt.methods._constants import contraction_of
from dopt.methods._job import Job
from dopt.methods._single import check_single, dtype_of
from dopt.policies import Policy, Rounds, pattern
from dopt.problems import Constants, Problem
from dopt.theory import ef21p_step_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EF21P(Method):
    """Gradient descent at a model that the workers learn from compressed news."""

    name: ClassVar[str] = "EF21-P"
    step_size: Any
    server_compressor: Compressor = field(metadata={"static": True})
    compressor: Compressor | Joint = field(default=Identity(), metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_single(self.name, self.server_compressor)

    def policy(self, costs: Costs, d: int) -> Policy:
        """Rounds of all workers, with compressed news of the model."""
        self.check(d, costs.n)
        self.server_compressor.check(d)
        news = self.server_compressor.nbits(d, dtype_of(costs, d))
        return Rounds(pattern(range(costs.n), weight=1.0 / costs.n, download=news))

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """On the server w = x⁰; workers know w, and keep nothing of their own."""
        return x, ()

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """∇f_i(w^k)."""
        return memory, problem.local_grad(models[0], job.worker)

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """Workers keep nothing."""
        return memory

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The mean of what was sent."""
        return total, memory

    def publish(
        self, memory: Memory, x: Float[Array, " d"], budget: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Memory:
        """The workers' model, w + C_s(x − w)."""
        code = self.server_compressor.compress(x - memory, key=key)
        return memory + self.server_compressor.expand(code)

    def broadcast(self, server: Server) -> Float[Array, " d"]:
        """The model w, which workers put together from the news."""
        return server.memory

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """γ = 1/(L(1 + √(β/θ))); only where gradients travel uncompressed."""
        if not isinstance(self.compressor, Identity):
            raise UnsupportedError(
                f"the step size of {self.name} is known for gradients that travel uncompressed, "
                f"not by {self.compressor}; leave out compressor, or tune"
            )
        L = constants.need("L", self.name)
        return ef21p_step_size(L, contraction_of(self.server_compressor, d))
