"""The vectors on which operators are compared: Gaussian, heavy-tailed, and gradients of two models.

Gradients are those that SGD meets on its way, at mini-batches of 32 images of MNIST.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dopt.data import load_mnist
from dopt.problems import MultinomialLogistic, Problem, from_loss


VECTORS = 8
"""Vectors of each kind."""

STEPS, STEP_SIZE, BATCH, SAMPLES = 160, 0.1, 32, 5000
"""Of SGD."""

HIDDEN = 10
"""Hidden units of the network: about as many parameters as the regression has."""


def vectors(data: str | None) -> dict[str, Float[np.ndarray, "vectors d"]]:
    """The vectors by kind, float32."""
    digits = load_mnist(data, samples=SAMPLES)
    logistic = MultinomialLogistic.from_digits(digits, batch=BATCH)
    network = from_loss(_cross_entropy, _parameters(), (digits.images, digits.labels), batch=BATCH)
    rng, shape = np.random.default_rng(0), (VECTORS, logistic.d)
    return {
        "Gaussian": rng.standard_normal(shape, np.float32),
        "Student t, 3 degrees of freedom": rng.standard_t(3, shape).astype(np.float32),
        "Gradients of logistic regression on MNIST": _gradients(logistic),
        "Gradients of a neural network on MNIST": _gradients(network),
    }


def _parameters() -> dict[str, Float[np.ndarray, "..."]]:
    """A network of one hidden layer, at its start."""
    rng = np.random.default_rng(1)
    first = rng.standard_normal((784, HIDDEN), np.float32) / np.float32(28)
    second = rng.standard_normal((HIDDEN, 10), np.float32) / np.float32(math.sqrt(HIDDEN))
    zeros = np.zeros(HIDDEN, np.float32), np.zeros(10, np.float32)
    return {"first": first, "first bias": zeros[0], "second": second, "second bias": zeros[1]}


def _cross_entropy(
    params: dict[str, Array], examples: tuple[Float[Array, "N pixels"], Int[Array, " N"]]
) -> Float[Array, ""]:
    images, labels = examples
    hidden = jnp.tanh(images @ params["first"] + params["first bias"][None])
    log_p = jax.nn.log_softmax(hidden @ params["second"] + params["second bias"][None])
    return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))


@jax.jit
def _path(problem: Problem) -> Float[Array, "steps d"]:
    """The stochastic gradients of SGD from the start."""

    def step(x: Array, t: Array) -> tuple[Array, Array]:
        key = jax.random.fold_in(jax.random.key(0), t)
        g = problem.stochastic_grad(x, key=key, worker=jnp.int32(0))
        return x - jnp.asarray(STEP_SIZE, x.dtype) * g, g

    return jax.lax.scan(step, problem.start(), jnp.arange(STEPS))[1]


def _gradients(problem: Problem) -> Float[np.ndarray, "vectors d"]:
    every = STEPS // VECTORS
    return np.asarray(_path(problem))[every - 1 :: every]
