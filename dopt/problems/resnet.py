"""ResNet-18 on small images: softmax cross-entropy of ten classes, group normalization.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, in the form for
images of 32 x 32: a stem of 3 x 3 with stride 1, no pooling before the last layer. Stage s has
width·2^s channels, and from the second on it halves the sides. A block is

    y = relu(norm(conv(x)));  z = norm(conv(y));  out = relu(z + shortcut(x))

with convolutions of 3 x 3, padding 1 and no biases; the shortcut is x itself, or norm(conv(x)) with
a convolution of 1 x 1 where the shape changes. Then comes the mean over pixels and a dense layer.

Normalization is by groups of channels within one image (Wu, He, "Group normalization", ECCV 2018),
where the paper has batch normalization: f is a mean over samples, each with a loss of its own, and
statistics of a batch would make a sample's loss depend on the others drawn with it; gradients of
mini-batches would not be unbiased, and workers would have to exchange running means.

With the defaults 62 arrays hold d = 11,173,962 parameters, as many as with batch normalization; a
width of 16 has 701,466, and one of 8 has 176,402.

Images are taken as they are: nothing crops or flips them at random.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64

from dopt.data import Images
from dopt.errors import ConfigurationError
from dopt.problems._classes import CLASSES, as_maps, classifier, square
from dopt.problems._convolutions import convolution
from dopt.problems._dtype import float_dtype
from dopt.problems._normal import normals
from dopt.problems.from_loss import FromLoss


_EPSILON = 1e-5


class Norm(NamedTuple):
    """What a normalized channel is multiplied by, and what is added."""

    scale: Array
    shift: Array


class Convolution(NamedTuple):
    """A convolution and the normalization behind it."""

    kernel: Array
    """[k, k, before, after]"""
    norm: Norm


class Block(NamedTuple):
    """A residual block; its shortcut is `None` where the input is added as it is."""

    first: Convolution
    second: Convolution
    shortcut: Convolution | None


class Dense(NamedTuple):
    """The last layer."""

    weights: Array
    biases: Array


class ResNet(NamedTuple):
    """The parameters, in the order in which images meet them."""

    stem: Convolution
    stages: tuple[tuple[Block, ...], ...]
    head: Dense


def resnet18(
    images: Images,
    *,
    width: int = 64,
    blocks: Sequence[int] = (2, 2, 2, 2),
    groups: int = 8,
    seed: int = 0,
    batch: int | None = 32,
    n: int | None = None,
    parts: Sequence[Int64[np.ndarray, " _"]] | None = None,
    held_out: Images | None = None,
    at_once: int = 64,
    dtype: Any = jnp.float32,
) -> FromLoss:
    """The network on square images, grey or of three colours.

    Models and jobs go through it one after another, at most `at_once` samples at a time: memory is
    that of one, whatever is mapped over step sizes, seeds and workers. A gradient over 64 samples
    holds activations of 0.5 GB at width 64, and in proportion.

    The start is drawn from a seed: kernels N(0, 2/fan_in), which keeps the size of what goes
    through relu layers, scales 1, the last layer N(0, 1/fan_in), shifts and biases 0. Nothing is
    known of the constants but f* ≥ 0.

    Args:
        images: images and labels.
        width: channels of the first stage, a multiple of `groups`.
        blocks: how many each stage has.
        groups: of channels that are normalized together, in every layer.
        seed: of the starting point.
        batch: samples that one stochastic gradient averages; `None` for exact gradients.
        n: workers with an equal part of the data each; by default all share all data.
        parts: the samples of each worker, in place of `n`.
        held_out: images on which accuracy is measured; by default those of training.
        at_once: samples that go through the network together.
        dtype: of the model and the data.

    Raises:
        ConfigurationError: a stage without blocks, a width that groups do not divide, images that
            are no squares, or what `from_loss` refuses.
    """
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}; it must be at least 0")
    if len(blocks) == 0 or min(blocks) < 1:
        raise ConfigurationError(f"blocks = {tuple(blocks)}; give at least one stage of one block")
    if width < 1 or groups < 1 or width % groups != 0:
        raise ConfigurationError(f"groups = {groups} do not divide width = {width} into equal ones")
    shape = square(images.images.shape[1])
    if shape is None:
        raise ConfigurationError(
            f"images of {images.images.shape[1]} numbers are no squares, grey or of three colours"
        )
    return classifier(
        _Scores(groups),
        _start(shape[1], width, blocks, seed, float_dtype(dtype)),
        images,
        batch=batch,
        n=n,
        parts=parts,
        held_out=held_out,
        at_once=at_once,
    )


def _start(channels: int, width: int, blocks: Sequence[int], seed: int, dtype: Any) -> ResNet:
    draws = count()

    def drawn(shape: tuple[int, ...], gain: float) -> Array:
        key = jax.random.fold_in(jax.random.key(seed), next(draws))
        # Drawn in float32 always: the same start in either precision.
        z = normals(key, prod(shape), jnp.float32).reshape(shape)
        return (z * (gain / prod(shape[:-1])) ** 0.5).astype(dtype)

    def layer(side: int, before: int, after: int) -> Convolution:
        norm = Norm(jnp.ones(after, dtype), jnp.zeros(after, dtype))
        return Convolution(drawn((side, side, before, after), 2.0), norm)

    def block(before: int, after: int) -> Block:
        return Block(
            layer(3, before, after),
            layer(3, after, after),
            None if before == after else layer(1, before, after),
        )

    stem = layer(3, channels, width)
    stages = []
    before = width
    for s, number in enumerate(blocks):
        after = width * 2**s
        befores = [before] + [after] * (number - 1)
        stages.append(tuple(block(b, after) for b in befores))
        before = after
    head = Dense(drawn((before, CLASSES), 1.0), jnp.zeros(CLASSES, dtype))
    return ResNet(stem, tuple(stages), head)


@dataclass(frozen=True)
class _Scores:
    """The network; equal ones are one to compiled programs."""

    groups: int

    def __call__(
        self, params: ResNet, images: Float[Array, "S pixels"]
    ) -> Float[Array, "S classes"]:
        groups = self.groups
        maps = as_maps(images, params.stem.kernel.shape[2])
        maps = jax.nn.relu(_convolved(params.stem, maps, 1, groups))
        for s, stage in enumerate(params.stages):
            for b, block in enumerate(stage):
                maps = _through(block, maps, 2 if s > 0 and b == 0 else 1, groups)
        return jnp.mean(maps, axis=(1, 2)) @ params.head.weights + params.head.biases[None]


def _through(
    block: Block, maps: Float[Array, "S side side before"], stride: int, groups: int
) -> Float[Array, "S less less after"]:
    inner = jax.nn.relu(_convolved(block.first, maps, stride, groups))
    inner = _convolved(block.second, inner, 1, groups)
    if block.shortcut is not None:
        maps = _convolved(block.shortcut, maps, stride, groups)
    return jax.nn.relu(inner + maps)


def _convolved(
    layer: Convolution, maps: Float[Array, "S side side before"], stride: int, groups: int
) -> Float[Array, "S less less after"]:
    """The convolution, normalized."""
    out = convolution(maps, layer.kernel, stride)
    return _normalized(layer.norm, out, groups)


def _normalized(
    norm: Norm, maps: Float[Array, "S side side channels"], groups: int
) -> Float[Array, "S side side channels"]:
    """Mean 0 and variance 1 within each image and group, then scaled and shifted by channel."""

    def by_group(means: Float[Array, "S channels"]) -> Float[Array, "S 1 1 channels"]:
        apart = means.reshape(len(means), groups, -1)
        same = jnp.broadcast_to(jnp.mean(apart, axis=2, keepdims=True), apart.shape)
        return same.reshape(means.shape)[:, None, None]

    # Sums over pixels keep channels side by side, which is twice as fast as sums over groups.
    centred = maps - by_group(jnp.mean(maps, axis=(1, 2)))
    variance = by_group(jnp.mean(centred**2, axis=(1, 2)))
    scale = norm.scale[None, None, None] * jax.lax.rsqrt(variance + _EPSILON)
    return centred * scale + norm.shift[None, None, None]
