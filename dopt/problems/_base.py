"""What a problem is: f(x), its gradients, its noise, and the constants that theory asks for."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64, Key, PRNGKeyArray

from compressors import Constant
from dopt.errors import ConfigurationError


@dataclass(frozen=True)
class Constants:
    """Constants of f; `None` where nothing is known.

    | field | meaning |
    |---|---|
    | `L` | ‖∇f(x) − ∇f(y)‖ ≤ L‖x − y‖ |
    | `L_max` | the largest smoothness constant of a worker's own f_i |
    | `L_plus` | (1/n) Σ‖∇f_i(x) − ∇f_i(y)‖² ≤ L_plus² ‖x − y‖² |
    | `L_pm` | the Hessian variance: the same sum less ‖∇f(x) − ∇f(y)‖² ≤ L_pm² ‖x − y‖² |
    | `mu` | strong convexity |
    | `sigma2` | E‖∇f(x; ξ) − ∇f(x)‖² ≤ sigma2 for one stochastic gradient |
    | `f_star` | the smallest value of f, or a lower bound of it |
    """

    L: Constant | None = None
    L_max: Constant | None = None
    L_plus: Constant | None = None
    L_pm: Constant | None = None
    mu: Constant | None = None
    sigma2: Constant | None = None
    f_star: Constant | None = None

    def need(self, name: str, who: str) -> float:
        """The value of constant `name`, or an error that says that `who` needs it."""
        known = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        constant = getattr(self, name)
        if constant is None:
            raise ConfigurationError(
                f"{who} needs the constant {name}, which this problem does not know "
                f"(known: {', '.join(known) or 'none'}); give it when building the problem"
            )
        return float(constant.value)


class Problem(abc.ABC):
    """f(x) = (1/n) Σ f_i(x), seen through stochastic gradients. A frozen dataclass and a pytree.

    Models are flat vectors of length `d` and type `dtype`. Homogeneous problems (`n is None`) give
    every worker the same f. All randomness comes in through `key`.
    """

    name: ClassVar[str]
    d: int
    dtype: Any
    n: int | None

    @staticmethod
    def from_loss(
        loss: Callable[[Any, Any], Float[Array, ""]],
        params: Any,
        data: Any,
        *,
        batch: int | None = 1,
        n: int | None = None,
        parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
        right: Callable[[Any, Any], Float[Array, ""]] | None = None,
        constants: Constants | None = None,
    ) -> "Problem":
        """A user's own loss, parameters and data as a problem; see `dopt.problems.from_loss`."""
        # Imported here because what it builds is itself a `Problem`.
        from dopt.problems.from_loss import from_loss

        known = Constants() if constants is None else constants
        return from_loss(
            loss, params, data, batch=batch, n=n, parts=parts, right=right, constants=known
        )

    @property
    @abc.abstractmethod
    def constants(self) -> Constants:
        """The constants of f, each exact or labelled as a bound. Computed on the host."""

    @property
    def f_star(self) -> Constant | None:
        """`constants.f_star`; overridden where the other constants cost more than it."""
        return self.constants.f_star

    @abc.abstractmethod
    def start(self) -> Float[Array, " d"]:
        """The customary starting point x⁰."""

    @abc.abstractmethod
    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x)."""

    @abc.abstractmethod
    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇f(x), exact."""

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """f(x) and ∇f(x); overridden where one pass over the data gives both."""
        return self.value(x), self.grad(x)

    def accuracy(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """The share of samples that `x` classifies right; NaN where there are no classes."""
        return jnp.full((), jnp.nan, x.dtype)

    @abc.abstractmethod
    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """∇f_i(x) of a worker, exact; ∇f(x) where the data are homogeneous."""

    @abc.abstractmethod
    def stochastic_grad(
        self, x: Float[Array, " d"], *, key: PRNGKeyArray, worker: Int[Array, ""]
    ) -> Float[Array, " d"]:
        """One unbiased stochastic gradient of f_i (of f, where the data are homogeneous)."""

    def grad_sum(
        self,
        x: Float[Array, " d"],
        count: Int[Array, ""],
        *,
        key: PRNGKeyArray,
        worker: Int[Array, ""],
        most: int,
    ) -> Float[Array, " d"]:
        """The sum of `count` independent stochastic gradients at `x`.

        `most >= count` is a static bound; the result does not depend on it. Overridden where the
        distribution of the sum is known; this loop, gradient l with `fold_in(key, l)`, is general.
        """

        def add(l: Int[Array, ""], total: Float[Array, " d"]) -> Float[Array, " d"]:  # noqa: E741
            draw = jax.random.fold_in(key, l)
            return total + self.stochastic_grad(x, key=draw, worker=worker)

        return jax.lax.fori_loop(0, count, add, jnp.zeros_like(x))

    def weighted_grad_sum(
        self,
        x: Float[Array, " d"],
        counts: Int[Array, " P"],
        weights: Float[Array, " P"],
        *,
        keys: Key[Array, " P"],
        workers: Int[Array, " P"],
        most: int,
    ) -> Float[Array, " d"]:
        """Σ_p weights[p] · grad_sum(x, counts[p]) for a batch of jobs at one model.

        What a server makes of P dense messages, in bounded memory: here one after another, and
        overridden where the sum needs no vector per job.
        """

        def add(total: Any, job: Any) -> tuple[Any, None]:
            weight, count, key, worker = job
            vector = self.grad_sum(x, count, key=key, worker=worker, most=most)
            return total + weight * vector, None

        return jax.lax.scan(add, jnp.zeros_like(x), (weights, counts, keys, workers))[0]
