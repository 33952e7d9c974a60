"""A user's own model as a problem: a loss on a pytree of parameters, and data.

    f(x) = (1/n) Σ f_i(x),   f_i(x) = loss(params, the samples of worker i),   a mean over samples

The model is the flat vector x of `jax.flatten_util.ravel_pytree(params)`; `unravel` goes back.
Workers count alike however many samples they have; without parts f_i = f is the mean over all.

Noise: one stochastic gradient is that of `loss` on `batch` samples of the worker's part, drawn
uniformly with replacement; with `batch=None` every gradient is ∇f_i, exact.

Accuracy is a mean over the same samples, or over samples that were held out.

Constants are what the user gives; none is derived.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Int64

from dopt.errors import ConfigurationError
from dopt.problems._base import Constants
from dopt.problems._cut import Cut, cut
from dopt.problems._dtype import float_dtype
from dopt.problems._parts import in_turn
from dopt.problems._samples import MeanOverSamples


Loss = Callable[[Any, Any], Float[Array, ""] | Float[Array, " S"]]
"""`loss(params, examples)`: over the leading axis of `examples` the mean loss, or each loss."""


_UNKNOWN = Constants()


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class FromLoss(MeanOverSamples):
    """A loss, its parameters and its data; built by `from_loss`, which checks them.

    `params` is the starting point as a pytree: what `PerLeaf.like` of `compressors` takes.
    """

    name: ClassVar[str] = "from_loss"

    params: Any
    data: Any
    """The samples, part after part."""
    held_out: Any
    """Samples of the same kind for `accuracy`, or `None`."""
    cut: Cut
    loss: Loss = field(metadata={"static": True})
    right: Loss | None = field(metadata={"static": True})
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})
    n: int | None = field(metadata={"static": True})
    batch: int | None = field(metadata={"static": True})
    at_once: int | None = field(metadata={"static": True})
    given: Constants = field(metadata={"static": True})

    @property
    def constants(self) -> Constants:
        """What the user gave."""
        return self.given

    @property
    def most_at_once(self) -> int:
        """What the user gave, else as for every problem."""
        return super().most_at_once if self.at_once is None else self.at_once

    def start(self) -> Float[Array, " d"]:
        """The parameters that the user gave, flat."""
        return ravel_pytree(self.params)[0]

    def unravel(self, x: Float[Array, " d"]) -> Any:
        """The parameters that the flat vector `x` stands for."""
        return ravel_pytree(self.params)[1](x)

    def accuracy(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """The mean of `right`; NaN where there is none.

        Over held-out samples each counts once; without them it is taken as that of the loss.
        """
        if self.right is None:
            return super().accuracy(x)
        if self.held_out is None:
            shares = self.cut.shares(x.dtype)
        else:
            count = jax.tree.leaves(self.held_out)[0].shape[0]
            shares = jnp.full(count, 1 / count, x.dtype)
        return self._over_all(lambda *some: self._call(_right_sum, x, *some), shares)

    def loss_sum(
        self, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
    ) -> Float[Array, ""]:
        """A weighted sum of losses of single samples."""
        return self._call(_loss_sum, x, rows, shares)

    def loss_and_grad_sum(
        self, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
    ) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """The same, and its gradient."""
        return self._call(jax.value_and_grad(_loss_sum, argnums=1), x, rows, shares)

    def _call(self, function: Callable[..., Any], *arrays: Array) -> Any:
        return (function if self.at_once is None else in_turn(function))(self, *arrays)


def _loss_sum(
    problem: FromLoss, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
) -> Float[Array, ""]:
    return _sum(problem.loss, problem.unravel(x), problem.data, rows, shares)


def _right_sum(
    problem: FromLoss, x: Float[Array, " d"], rows: Int[Array, " S"], shares: Float[Array, " S"]
) -> Float[Array, ""]:
    assert problem.right is not None
    samples = problem.data if problem.held_out is None else problem.held_out
    return _sum(problem.right, problem.unravel(x), samples, rows, shares)


def _sum(
    of: Loss, params: Any, samples: Any, rows: Int[Array, " S"], shares: Float[Array, " S"]
) -> Float[Array, ""]:
    taken = jax.tree.map(lambda a: a.at[rows].get(mode="promise_in_bounds"), samples)
    if jax.eval_shape(of, params, jax.tree.map(lambda a: a[:1], taken)).ndim == 1:
        each = of(params, taken)
    else:
        each = jax.vmap(lambda one: of(params, jax.tree.map(lambda a: a[None], one)))(taken)
    return jnp.sum(shares * each.astype(shares.dtype))


def from_loss(
    loss: Loss,
    params: Any,
    data: Any,
    *,
    batch: int | None = 1,
    n: int | None = None,
    parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
    right: Loss | None = None,
    held_out: Any = None,
    at_once: int | None = None,
    constants: Constants = _UNKNOWN,
) -> FromLoss:
    """The problem of minimising `loss(params, data)` over `params`.

    Args:
        loss: `loss(params, examples)` is the scalar mean loss over the leading axis of `examples`,
            or the vector of their losses, which is quicker to compile and for some models to run;
            a function that can be hashed.
        params: a pytree of float arrays of one dtype: the starting point.
        data: a pytree of arrays with one leading axis of N samples.
        batch: samples that one stochastic gradient averages; `None` for exact gradients.
        n: workers with an equal part of the data each, cut in their order, where n divides N; by
            default all share all data.
        parts: the samples of each worker, in place of `n`; of any sizes. Samples that no part
            names are left out.
        right: `right(params, examples)` is the share of `examples` that the model has right, or for
            each of them 0 or 1; for `accuracy`; a function like `loss`.
        held_out: samples on which `accuracy` is measured, like `data` but for their number; by
            default the data themselves.
        at_once: for large models: so many samples of one model at a time go through `loss`, and
            models and jobs that `vmap` maps one after another, so that memory is that of one. By
            default some hundreds, and models side by side.
        constants: what is known of f.

    Raises:
        ConfigurationError: anything of the above does not hold.
    """
    params, data = jax.tree.map(jnp.asarray, (params, data))
    dtype = _one_dtype(params)
    samples = _leading_axis(data)
    if batch is not None and batch < 1:
        raise ConfigurationError(f"batch = {batch}; a gradient averages at least one sample")
    if at_once is not None and at_once < 1:
        raise ConfigurationError(f"at_once = {at_once}; at least one sample goes through the loss")
    if held_out is not None:
        held_out = _like(jax.tree.map(jnp.asarray, held_out), data)
    made, order = cut(samples, n, parts)
    if parts is not None:
        data = jax.tree.map(lambda a: a[order], data)
    single = jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), data)
    for name, function in {"loss": loss, "right": right}.items():
        if function is None:
            continue
        result = jax.eval_shape(function, params, single)
        fits = isinstance(result, jax.ShapeDtypeStruct) and result.shape in ((), (1,))
        if not (fits and jnp.issubdtype(result.dtype, jnp.floating)):
            raise ConfigurationError(
                f"{name}(params, examples) returns {result} for one example; it must return one "
                "float, a mean, or a float for each example"
            )
    return FromLoss(
        params=params,
        data=data,
        held_out=held_out,
        cut=made,
        loss=loss,
        right=right,
        d=sum(leaf.size for leaf in jax.tree.leaves(params)),
        dtype=dtype,
        n=n if parts is None else made.parts,
        batch=batch,
        at_once=at_once,
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


def _like(held_out: Any, data: Any) -> Any:
    _leading_axis(held_out)
    kinds = [jax.tree.map(lambda a: (a.shape[1:], str(a.dtype)), each) for each in (held_out, data)]
    if kinds[0] != kinds[1]:
        raise ConfigurationError(
            f"held-out samples are {kinds[0]} and those of data {kinds[1]}; give them one kind"
        )
    return held_out
