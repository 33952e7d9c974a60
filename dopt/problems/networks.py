"""Two small networks on MNIST: softmax cross-entropy of ten classes, smooth activations (tanh).

* `perceptron`: dense layers; pixels·64 + 64 + 64·10 + 10 = 50,890 parameters by default.
* `convolutional_network`: two convolutions of 5 x 5 with stride 2, 8 and 16 channels, and a dense
  layer; 208 + 3,216 + 2,570 = 5,994 parameters for 28 x 28 pixels.

The start is drawn from a seed: weights N(0, 1/fan_in), which keeps the size of what goes through
tanh layers, and biases 0. Nothing is known of their constants but f* ≥ 0;
`dopt.problems.estimates` measures others.

Parameters are a list of layers, each with "biases" and "weights"; the vectors of `FromLoss` hold
them in this order, so that `PerLeaf.like(problem.params, make)` compresses every array on its own.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import isqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64

from compressors import Constant
from dopt.data import Digits
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants
from dopt.problems._dtype import float_dtype
from dopt.problems._normal import normals
from dopt.problems.from_loss import FromLoss, Loss, from_loss


Layer = dict[str, Array]
Examples = tuple[Float[Array, "S pixels"], Int[Array, " S"]]

_CLASSES = 10
_KERNEL, _STRIDE, _CHANNELS = 5, 2, (8, 16)
_LEAST_SIDE = 13

_CONSTANTS = Constants(f_star=Constant(0.0, "bound", "a cross-entropy is never negative"))


def perceptron(
    digits: Digits,
    *,
    hidden: Sequence[int] = (64,),
    seed: int = 0,
    batch: int | None = 32,
    n: int | None = None,
    parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
    dtype: Any = jnp.float32,
) -> FromLoss:
    """A perceptron with `hidden` tanh units in each of its hidden layers.

    Args:
        digits: images and labels.
        hidden: units of each hidden layer; none for softmax regression.
        seed: of the starting point.
        batch: samples that one stochastic gradient averages; `None` for exact gradients.
        n: workers with an equal part of the data each; by default all share all data.
        parts: the samples of each worker, in place of `n`.
        dtype: of the model and the data.

    Raises:
        ConfigurationError: a layer without units, or what `from_loss` refuses.
    """
    widths = [digits.images.shape[1], *hidden, _CLASSES]
    if min(widths) < 1:
        raise ConfigurationError(f"hidden = {tuple(hidden)}; every layer has at least one unit")
    shapes = list(pairwise(widths))
    return _network(
        _perceptron_loss, _perceptron_right, shapes, digits, seed, batch, n, parts, dtype
    )


def convolutional_network(
    digits: Digits,
    *,
    seed: int = 0,
    batch: int | None = 32,
    n: int | None = None,
    parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
    dtype: Any = jnp.float32,
) -> FromLoss:
    """The convolutional network on square images of at least 13 x 13 pixels.

    Arguments and errors are those of `perceptron`.
    """
    pixels = digits.images.shape[1]
    side = isqrt(pixels)
    if side**2 != pixels or side < _LEAST_SIDE:
        raise ConfigurationError(
            f"images of {pixels} pixels; two convolutions take squares of at least "
            f"{_LEAST_SIDE} x {_LEAST_SIDE}"
        )
    for _ in _CHANNELS:
        side = (side - _KERNEL) // _STRIDE + 1
    first, second = _CHANNELS
    shapes = [
        (_KERNEL, _KERNEL, 1, first),
        (_KERNEL, _KERNEL, first, second),
        (side * side * second, _CLASSES),
    ]
    return _network(
        _convolutional_loss, _convolutional_right, shapes, digits, seed, batch, n, parts, dtype
    )


def _network(
    loss: Loss,
    right: Loss,
    shapes: Sequence[tuple[int, ...]],
    digits: Digits,
    seed: int,
    batch: int | None,
    n: int | None,
    parts: Sequence[Int64[np.ndarray, " _"]] | None,
    dtype: Any,
) -> FromLoss:
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}; it must be at least 0")
    dtype, key = float_dtype(dtype), jax.random.key(seed)
    params = [_layer(jax.random.fold_in(key, k), shape, dtype) for k, shape in enumerate(shapes)]
    data = (digits.images.astype(dtype), digits.labels)
    return from_loss(
        loss, params, data, batch=batch, n=n, parts=parts, right=right, constants=_CONSTANTS
    )


def _layer(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Layer:
    fan_in = int(np.prod(shape[:-1]))
    # Drawn in float32 always: the same start in either precision.
    weights = normals(key, fan_in * shape[-1], jnp.float32).reshape(shape) / fan_in**0.5
    return {"weights": weights.astype(dtype), "biases": jnp.zeros(shape[-1], dtype)}


def _perceptron_loss(params: list[Layer], examples: Examples) -> Float[Array, ""]:
    return _cross_entropy(_perceptron(params, examples[0]), examples[1])


def _perceptron_right(params: list[Layer], examples: Examples) -> Float[Array, ""]:
    return _share_right(_perceptron(params, examples[0]), examples[1])


def _convolutional_loss(params: list[Layer], examples: Examples) -> Float[Array, ""]:
    return _cross_entropy(_convolutional(params, examples[0]), examples[1])


def _convolutional_right(params: list[Layer], examples: Examples) -> Float[Array, ""]:
    return _share_right(_convolutional(params, examples[0]), examples[1])


def _perceptron(params: list[Layer], images: Float[Array, "S pixels"]) -> Float[Array, "S classes"]:
    *inner, last = params
    for layer in inner:
        images = jnp.tanh(_dense(layer, images))
    return _dense(last, images)


def _convolutional(
    params: list[Layer], images: Float[Array, "S pixels"]
) -> Float[Array, "S classes"]:
    *inner, last = params
    samples, side = images.shape[0], isqrt(images.shape[1])
    maps = images.reshape(samples, side, side, 1)
    for layer in inner:
        maps = jnp.tanh(_convolved(maps, layer["weights"]) + layer["biases"][None, None, None])
    return _dense(last, maps.reshape(samples, -1))


def _dense(layer: Layer, rows: Float[Array, "S before"]) -> Float[Array, "S after"]:
    return rows @ layer["weights"] + layer["biases"][None]


def _convolved(
    maps: Float[Array, "S side side before"], kernel: Float[Array, "k k before after"]
) -> Float[Array, "S less less after"]:
    """A convolution without padding, as a product: XLA's own has slow gradients on a CPU."""
    k = kernel.shape[0]
    span = maps.shape[1] - k + 1
    taps = [
        maps[:, i : i + span : _STRIDE, j : j + span : _STRIDE] for i in range(k) for j in range(k)
    ]
    return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _cross_entropy(scores: Float[Array, "S classes"], labels: Int[Array, " S"]) -> Float[Array, ""]:
    log_p = jax.nn.log_softmax(scores, axis=1)
    return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))


def _share_right(scores: Float[Array, "S classes"], labels: Int[Array, " S"]) -> Float[Array, ""]:
    found = jnp.argmax(scores, axis=1).astype(labels.dtype)
    return jnp.mean((found == labels).astype(scores.dtype))
