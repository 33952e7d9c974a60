"""The networks against loops in numpy, finite differences, and what they must learn."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import PerLeaf, RandK
from dopt.data import Digits, label_split, load_mnist
from dopt.errors import ConfigurationError
from dopt.problems import convolutional_network, perceptron


SIDE, N = 14, 12
RNG = np.random.default_rng(0)
DIGITS = Digits(
    RNG.random((N, SIDE**2)).astype(np.float32), RNG.integers(0, 10, N).astype(np.int32), "made up"
)
KINDS = {"perceptron": perceptron, "convolutional": convolutional_network}
PARTS = [np.array([0, 3, 4]), np.array([7, 1]), np.array([2, 5, 6, 8, 9, 10, 11])]
each_kind = pytest.mark.parametrize("kind", KINDS)


@cache
def build(kind, first=None, **others):
    """Workers have the PARTS from `first` on; without it there are no parts."""
    parts = None if first is None else PARTS[first:]
    arguments = {"parts": parts, "batch": None, "dtype": np.float64, "seed": 1, **others}
    return KINDS[kind](DIGITS, **arguments)


def moved(problem):
    """A point where biases are not zero."""
    return problem.start() + 0.1 * jax.random.normal(jax.random.key(2), (problem.d,))


def scores(kind, params, image):
    """One image at a time, from the definition."""
    *inner, last = jax.tree.map(np.asarray, params)
    if kind == "perceptron":
        out = image
        for layer in inner:
            out = np.tanh(
                layer["biases"] + sum(v * w for v, w in zip(out, layer["weights"], strict=True))
            )
    else:
        out = image.reshape(SIDE, SIDE, 1)
        for layer in inner:
            size = (out.shape[0] - 5) // 2 + 1
            maps = np.empty((size, size, layer["biases"].size))
            for i in range(size):
                for j in range(size):
                    window = out[2 * i : 2 * i + 5, 2 * j : 2 * j + 5]
                    maps[i, j] = np.einsum("abc,abco->o", window, layer["weights"])
            out = np.tanh(maps + layer["biases"])
    return out.reshape(-1) @ last["weights"] + last["biases"]


@each_kind
def test_value_and_accuracy_are_those_of_a_loop(kind):
    problem = build(kind, 0)
    x = moved(problem)
    out = np.stack([scores(kind, problem.unravel(x), image) for image in DIGITS.images])
    e = np.exp(out)
    losses = -np.log(e[np.arange(N), DIGITS.labels] / e.sum(axis=1))
    hits = out.argmax(axis=1) == DIGITS.labels
    expected = np.mean([losses[part].mean() for part in PARTS])
    np.testing.assert_allclose(problem.value(x), expected, rtol=1e-12)
    share = np.mean([hits[part].mean() for part in PARTS])
    np.testing.assert_allclose(problem.accuracy(x), share, rtol=1e-12)
    assert problem.f_star == (0.0, "bound", "a cross-entropy is never negative")


@each_kind
def test_gradients_are_finite_differences(kind):
    problem, last = build(kind, 0), build(kind, 2)
    x = moved(problem)
    direction = jax.random.normal(jax.random.key(3), (problem.d,))
    h = 1e-5
    steps = jnp.stack([x + h * direction, x - h * direction])

    @jax.jit
    def all_of(problem, last, x, steps):
        every = jax.vmap(problem.local_grad, (None, 0))(x, jnp.arange(3))
        return jax.vmap(last.value)(steps), every, problem.grad(x)

    (ahead, behind), every, gradient = all_of(problem, last, x, steps)
    assert direction @ every[2] == pytest.approx(float(ahead - behind) / (2 * h), rel=1e-6)
    np.testing.assert_allclose(every.mean(axis=0), gradient, rtol=1e-11, atol=1e-14)


@each_kind
def test_start_is_drawn_as_documented(kind):
    problem = build(kind)
    for layer in problem.params:
        weights = np.asarray(layer["weights"])
        fan_in, z = np.prod(weights.shape[:-1]), weights.reshape(-1)
        assert abs(z.mean()) < 4 / np.sqrt(fan_in * z.size)
        assert abs(z.var() * fan_in - 1) < 4 * np.sqrt(2 / z.size)
        np.testing.assert_array_equal(layer["biases"], 0)
    single = build(kind, dtype=np.float32)
    assert single.start().dtype == single.value(single.start()).dtype == np.float32
    np.testing.assert_allclose(single.start(), problem.start(), rtol=1e-6)
    assert not np.array_equal(build(kind, seed=2).start(), problem.start())
    np.testing.assert_array_equal(build(kind).start(), problem.start())


def test_sizes_on_mnist():
    blank = Digits(np.zeros((2, 784), np.float32), np.zeros(2, np.int32), "blank")
    assert perceptron(blank).d == 50_890
    assert convolutional_network(blank).d == 5994


@each_kind
def test_colours_and_held_out_images_are_taken(kind):
    def made_up(samples):
        pixels = RNG.random((samples, SIDE**2 * 3)).astype(np.float32)
        return Digits(pixels, RNG.integers(0, 10, samples).astype(np.int32), "made up")

    images, held_out = made_up(4), made_up(8)
    problem = KINDS[kind](images, held_out=held_out, dtype=np.float64)
    swapped = KINDS[kind](held_out, dtype=np.float64)

    @jax.jit
    def both(problem, x):
        return problem.value(x), problem.accuracy(x)

    x = problem.start()
    (value, accuracy), (other_value, same_accuracy) = both(problem, x), both(swapped, x)
    assert accuracy == same_accuracy
    assert value != other_value
    if kind == "convolutional":
        assert problem.params[0]["weights"].shape == (5, 5, 3, 8)


def test_every_array_has_a_compressor_of_its_own():
    problem = build("perceptron", hidden=(3,))
    compressor = PerLeaf.like(problem.params, lambda leaf: RandK(max(1, leaf.size // 4)))
    send = jax.jit(lambda x: compressor.expand(compressor.compress(x, key=jax.random.key(0))))
    sent = problem.unravel(send(moved(problem)))
    kept = [np.count_nonzero(leaf) for leaf in jax.tree.leaves(sent)]
    assert kept == [max(1, leaf.size // 4) for leaf in jax.tree.leaves(problem.params)]


@each_kind
def test_mnist_is_learned_from_workers_with_few_digits(kind):
    digits = load_mnist(samples=1000)
    parts = label_split(digits.labels, 5)
    problem = KINDS[kind](digits, parts=parts, batch=32)

    def step(x, key):
        jobs = {"keys": jax.random.split(key, 5), "workers": jnp.arange(5), "most": 1}
        gradient = problem.weighted_grad_sum(
            x, jnp.ones(5, int), jnp.full_like(x, 0.2, shape=5), **jobs
        )
        return x - 0.2 * gradient, None

    keys = jax.random.split(jax.random.key(0), 150)
    x = jax.jit(lambda x: jax.lax.scan(step, x, keys)[0])(problem.start())
    assert problem.accuracy(problem.start()) < 0.3
    assert problem.accuracy(x) > 0.85
    assert problem.value(x) < 0.5 * problem.value(problem.start())


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("perceptron", {"hidden": (3, 0)}, r"hidden = \(3, 0\); every layer"),
        ("perceptron", {"seed": -1}, "seed = -1"),
        ("perceptron", {"dtype": np.int32}, "models are floats"),
        ("perceptron", {"n": 5}, "n = 5 does not cut 12"),
        ("convolutional", {"batch": 0}, "batch = 0"),
    ],
)
def test_bad_values_are_refused(kind, arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        build(kind, **arguments)


@pytest.mark.parametrize("pixels", [144, 200, 432])
def test_images_too_small_or_not_square_are_refused(pixels):
    odd = Digits(np.zeros((2, pixels), np.float32), np.zeros(2, np.int32), "odd")
    with pytest.raises(ConfigurationError, match=f"images of {pixels} pixels"):
        convolutional_network(odd)
