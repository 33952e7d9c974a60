"""A user's own model as a problem: a loss on a pytree of parameters, and data.

    f(x) = loss(params, data),   loss = a mean over the leading axis of the data

The model is the flat vector x of `jax.flatten_util.ravel_pytree(params)`; `unravel` goes back.

Noise: one stochastic gradient is that of `loss` on `batch` samples, drawn uniformly with
replacement. With `n` workers the data are cut into n equal parts in their order: worker i has
f_i(x) = loss(params, part i), its stochastic gradients sample part i, and f is the mean of the f_i.

Constants are what the user gives; none is derived.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from dopt.errors import ConfigurationError
from dopt.problems._base import Constants, Problem
from dopt.problems._dtype import float_dtype
from dopt.problems._sampling import sum_over_batches


Loss = Callable[[Any, Any], Float[Array, ""]]
"""`loss(params, examples)`: the mean loss over the leading axis of `examples`."""


_UNKNOWN = Constants()


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class FromLoss(Problem):
    """A loss, its parameters and its data; built by `from_loss`, which checks them."""

    name: ClassVar[str] = "from_loss"

    params: Any
    data: Any
    loss: Loss = field(metadata={"static": True})
    samples: int = field(metadata={"static": True})
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})
    n: int | None = field(metadata={"static": True})
    batch: int = field(metadata={"static": True})
    given: Constants = field(metadata={"static": True})

    @property
    def constants(self) -> Constants:
        """What the user gave."""
        return self.given

    def start(self) -> Float[Array, " d"]:
        """The parameters that the user gave, flat."""
        return ravel_pytree(self.params)[0]

    def unravel(self, x: Float[Array, " d"]) -> Any:
        """The parameters that the flat vector `x` stands for."""
        return ravel_pytree(self.params)[1](x)

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """The loss on all data."""
        return self.loss(self.unravel(x), self.data)

    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇f(x) over all data."""
        return jax.grad(self.value)(x)

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """Both, with one pass forward."""
        return jax.value_and_grad(self.value)(x)

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """The gradient over the part of `worker`; over all data where there are no parts."""
        if self.n is None:
            return self.grad(x)
        size = self.samples // self.n
        part = jax.tree.map(
            lambda a: jax.lax.dynamic_slice_in_dim(a, worker * size, size), self.data
        )
        return jax.grad(lambda x: self.loss(self.unravel(x), part))(x)

    def stochastic_grad(
        self, x: Float[Array, " d"], *, key: PRNGKeyArray, worker: Int[Array, ""]
    ) -> Float[Array, " d"]:
        """The gradient over one mini-batch: the sum of one."""
        return self.grad_sum(x, jnp.int32(1), key=key, worker=worker, most=1)

    def grad_sum(
        self,
        x: Float[Array, " d"],
        count: Int[Array, ""],
        *,
        key: PRNGKeyArray,
        worker: Int[Array, ""],
        most: int,
    ) -> Float[Array, " d"]:
        """The sum over `count` mini-batches, one backward pass for up to 8192 samples."""
        one = jnp.ones(1, x.dtype)
        return self.weighted_grad_sum(
            x, count[None], one, keys=key[None], workers=worker[None], most=most
        )

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
        """The gradient of a weighted sum of mini-batch losses: no vector per job."""
        size = self.samples // (self.n or 1)

        def one_pass(
            indices: Int[Array, "R batch"], shares: Float[Array, " R"]
        ) -> Float[Array, " d"]:
            def total_loss(x: Float[Array, " d"]) -> Float[Array, ""]:
                params = self.unravel(x)
                losses = jax.vmap(lambda drawn: self.loss(params, self._examples(drawn)))(indices)
                return jnp.sum(shares * losses.astype(shares.dtype))

            return jax.grad(total_loss)(x)

        return sum_over_batches(
            one_pass,
            jnp.zeros_like(x),
            counts,
            weights,
            jnp.zeros_like(workers) if self.n is None else workers * size,
            keys=keys,
            population=size,
            batch=self.batch,
            most=most,
        )

    def _examples(self, drawn: Int[Array, " batch"]) -> Any:
        return jax.tree.map(lambda a: a.at[drawn].get(mode="promise_in_bounds"), self.data)


def from_loss(
    loss: Loss,
    params: Any,
    data: Any,
    *,
    batch: int = 1,
    n: int | None = None,
    constants: Constants = _UNKNOWN,
) -> FromLoss:
    """The problem of minimising `loss(params, data)` over `params`.

    Args:
        loss: `loss(params, examples)` is the scalar mean loss over the leading axis of `examples`;
            a function that can be hashed.
        params: a pytree of float arrays of one dtype: the starting point.
        data: a pytree of arrays with one leading axis of N samples.
        batch: samples that one stochastic gradient averages.
        n: workers with a part of the data each, where n divides N; by default all share all data.
        constants: what is known of f.

    Raises:
        ConfigurationError: anything of the above does not hold.
    """
    params, data = jax.tree.map(jnp.asarray, (params, data))
    dtype = _one_dtype(params)
    samples = _leading_axis(data)
    if batch < 1:
        raise ConfigurationError(f"batch = {batch}; a gradient averages at least one sample")
    if n is not None and (n < 1 or samples % n != 0):
        raise ConfigurationError(
            f"n = {n} does not cut {samples} samples into equal parts; "
            f"take another n{f', or leave out the last {samples % n} samples' if n > 0 else ''}"
        )
    few = jax.tree.map(lambda a: jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype), data)
    result = jax.eval_shape(loss, params, few)
    scalar = isinstance(result, jax.ShapeDtypeStruct) and result.shape == ()
    if not (scalar and jnp.issubdtype(result.dtype, jnp.floating)):
        raise ConfigurationError(
            f"loss(params, examples) returns {result}; it must return one float, the mean loss"
        )
    return FromLoss(
        params=params,
        data=data,
        loss=loss,
        samples=samples,
        d=sum(leaf.size for leaf in jax.tree.leaves(params)),
        dtype=dtype,
        n=n,
        batch=batch,
        given=constants,
    )


def _one_dtype(params: Any) -> Any:
    found = {leaf.dtype for leaf in jax.tree.leaves(params)}
    if len(found) != 1:
        raise ConfigurationError(
            f"params hold arrays of types {sorted(map(str, found)) or 'none'}; give them one type"
        )
    return float_dtype(found.pop())


def _leading_axis(data: Any) -> int:
    shapes = [leaf.shape for leaf in jax.tree.leaves(data)]
    lengths = {shape[0] if shape else None for shape in shapes}
    if len(lengths) != 1 or lengths <= {None, 0}:
        raise ConfigurationError(
            f"data have arrays of shapes {shapes}; give at least one sample, and every array the "
            "same first axis"
        )
    return shapes[0][0]
