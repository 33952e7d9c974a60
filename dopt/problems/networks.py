"""Two small networks on images: softmax cross-entropy of ten classes, smooth activations (tanh).

* `perceptron`: dense layers; pixels·64 + 64 + 64·10 + 10 = 50,890 parameters by default.
* `convolutional_network`: two convolutions of 5 x 5 with stride 2, 8 and 16 channels, and a dense
  layer; 208 + 3,216 + 2,570 = 5,994 parameters for 28 x 28 grey pixels. Images of three colours
  are taken too.

The start is drawn from a seed: weights N(0, 1/fan_in), which keeps the size of what goes through
tanh layers, and biases 0. Nothing is known of their constants but f* ≥ 0;
`dopt.problems.estimates` measures others.

Parameters are a list of layers, each with "biases" and "weights"; the vectors of `FromLoss` hold
them in this order, so that `PerLeaf.like(problem.params, make)` compresses every array on its own,
and `leaf_names(problem.params)` names them.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64

from dopt.data import Images
from dopt.errors import ConfigurationError
from dopt.problems._classes import CLASSES, as_maps, classifier, square
from dopt.problems._dtype import float_dtype
from dopt.problems._normal import normals
from dopt.problems.from_loss import FromLoss


Layer = dict[str, Array]

_KERNEL, _STRIDE, _CHANNELS = 5, 2, (8, 16)
_LEAST_SIDE = 13


def perceptron(
    images: Images,
    *,
    hidden: Sequence[int] = (64,),
    seed: int = 0,
    batch: int | None = 32,
    n: int | None = None,
    parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
    held_out: Images | None = None,
    dtype: Any = jnp.float32,
) -> FromLoss:
    """A perceptron with `hidden` tanh units in each of its hidden layers.

    Args:
        images: images and labels.
        hidden: units of each hidden layer; none for softmax regression.
        seed: of the starting point.
        batch: samples that one stochastic gradient averages; `None` for exact gradients.
        n: workers with an equal part of the data each; by default all share all data.
        parts: the samples of each worker, in place of `n`.
        held_out: images on which accuracy is measured; by default those of training.
        dtype: of the model and the data.

    Raises:
        ConfigurationError: a layer without units, or what `from_loss` refuses.
    """
    widths = [images.images.shape[1], *hidden, CLASSES]
    if min(widths) < 1:
        raise ConfigurationError(f"hidden = {tuple(hidden)}; every layer has at least one unit")
    params = _start(list(pairwise(widths)), seed, dtype)
    return classifier(_perceptron, params, images, batch=batch, n=n, parts=parts, held_out=held_out)


def convolutional_network(
    images: Images,
    *,
    seed: int = 0,
    batch: int | None = 32,
    n: int | None = None,
    parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
    held_out: Images | None = None,
    dtype: Any = jnp.float32,
) -> FromLoss:
    """The convolutional network on square images of at least 13 x 13 pixels.

    Arguments and errors are those of `perceptron`.
    """
    pixels = images.images.shape[1]
    side, channels = square(pixels) or (0, 0)
    if side < _LEAST_SIDE:
        raise ConfigurationError(
            f"images of {pixels} pixels; two convolutions take squares of at least "
            f"{_LEAST_SIDE} x {_LEAST_SIDE}, grey or of three colours"
        )
    for _ in _CHANNELS:
        side = (side - _KERNEL) // _STRIDE + 1
    first, second = _CHANNELS
    shapes = [
        (_KERNEL, _KERNEL, channels, first),
        (_KERNEL, _KERNEL, first, second),
        (side * side * second, CLASSES),
    ]
    params = _start(shapes, seed, dtype)
    return classifier(
        _convolutional, params, images, batch=batch, n=n, parts=parts, held_out=held_out
    )


def _start(shapes: Sequence[tuple[int, ...]], seed: int, dtype: Any) -> list[Layer]:
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}; it must be at least 0")
    dtype, key = float_dtype(dtype), jax.random.key(seed)
    return [_layer(jax.random.fold_in(key, k), shape, dtype) for k, shape in enumerate(shapes)]


def _layer(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Layer:
    fan_in = int(np.prod(shape[:-1]))
    # Drawn in float32 always: the same start in either precision.
    weights = normals(key, fan_in * shape[-1], jnp.float32).reshape(shape) / fan_in**0.5
    return {"weights": weights.astype(dtype), "biases": jnp.zeros(shape[-1], dtype)}


def _perceptron(params: list[Layer], images: Float[Array, "S pixels"]) -> Float[Array, "S classes"]:
    *inner, last = params
    for layer in inner:
        images = jnp.tanh(_dense(layer, images))
    return _dense(last, images)


def _convolutional(
    params: list[Layer], images: Float[Array, "S pixels"]
) -> Float[Array, "S classes"]:
    *inner, last = params
    maps = as_maps(images, inner[0]["weights"].shape[2])
    for layer in inner:
        maps = jnp.tanh(_convolved(maps, layer["weights"]) + layer["biases"][None, None, None])
    return _dense(last, maps.reshape(len(images), -1))


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
