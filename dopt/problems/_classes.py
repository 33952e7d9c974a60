"""Networks that tell ten classes of images apart, as problems: cross-entropy and accuracy."""

from collections.abc import Callable, Sequence
from functools import cache
from math import isqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64

from compressors import Constant
from dopt.data import Images
from dopt.problems._base import Constants
from dopt.problems.from_loss import FromLoss, Loss, from_loss


CLASSES = 10

Scores = Callable[[Any, Float[Array, "S pixels"]], Float[Array, "S classes"]]
"""`scores(params, images)`: a number for every class, the largest for the one believed in."""

Examples = tuple[Float[Array, "S pixels"], Int[Array, " S"]]
"""Flat images and their labels."""

_CONSTANTS = Constants(f_star=Constant(0.0, "bound", "a cross-entropy is never negative"))


def square(pixels: int) -> tuple[int, int] | None:
    """Side and channels of a square image of so many numbers: grey, else of three colours."""
    for channels in (1, 3):
        side = isqrt(pixels // channels)
        if side**2 * channels == pixels:
            return side, channels
    return None


def as_maps(
    images: Float[Array, "S pixels"], channels: int
) -> Float[Array, "S side side channels"]:
    """Flat square images with their axes."""
    side = isqrt(images.shape[1] // channels)
    return images.reshape(-1, side, side, channels)


def classifier(
    scores: Scores,
    params: Any,
    images: Images,
    *,
    batch: int | None,
    n: int | None,
    parts: Sequence[Int64[np.ndarray, " _"]] | None,
    held_out: Images | None,
    at_once: int | None = None,
) -> FromLoss:
    """The mean of −log softmax(scores)[label], on data of the type of `params`."""
    dtype = jax.tree.leaves(params)[0].dtype

    def examples(images: Images) -> tuple[Array, Array]:
        return jnp.asarray(images.images, dtype), jnp.asarray(images.labels)

    loss, right = _loss_and_right(scores)
    return from_loss(
        loss,
        params,
        examples(images),
        batch=batch,
        n=n,
        parts=parts,
        right=right,
        held_out=None if held_out is None else examples(held_out),
        at_once=at_once,
        constants=_CONSTANTS,
    )


@cache
def _loss_and_right(scores: Scores) -> tuple[Loss, Loss]:
    """The same two functions at every call: compiled programs are found by them."""

    def loss(params: Any, examples: Examples) -> Float[Array, " S"]:
        log_p = jax.nn.log_softmax(scores(params, examples[0]), axis=1)
        return -jnp.take_along_axis(log_p, examples[1][:, None], axis=1)[:, 0]

    def right(params: Any, examples: Examples) -> Float[Array, " S"]:
        out = scores(params, examples[0])
        found = jnp.argmax(out, axis=1).astype(examples[1].dtype)
        return (found == examples[1]).astype(out.dtype)

    return loss, right
