"""ResNet-18 against loops in numpy, finite differences, its known size, and what it must learn."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.data import Images, load_cifar
from dopt.errors import ConfigurationError
from dopt.problems import leaf_names, resnet18


SIDE, N, GROUPS = 7, 6, 2
RNG = np.random.default_rng(0)
PARTS = [np.array([0, 3, 4]), np.array([5]), np.array([2])]


def made_up(samples, side=SIDE):
    pixels = RNG.normal(size=(samples, side * side * 3)).astype(np.float32)
    return Images(pixels, RNG.integers(0, 10, samples).astype(np.int32), "made up")


IMAGES, HELD_OUT = made_up(N), made_up(4)


@pytest.fixture(scope="module")
def problem():
    """Stages with and without a shortcut of its own; an odd side; more samples than go at once."""
    shape = {"width": 4, "blocks": (1, 2), "groups": GROUPS, "dtype": np.float64}
    return resnet18(IMAGES, batch=2, parts=PARTS, held_out=HELD_OUT, at_once=2, seed=1, **shape)


@pytest.fixture(scope="module")
def x(problem):
    """A point where scales and shifts are neither 1 nor 0."""
    return problem.start() + 0.1 * jax.random.normal(jax.random.key(2), (problem.d,))


def convolved(maps, kernel, stride):
    """One window at a time, from the definition."""
    k = kernel.shape[0]
    bordered = np.pad(maps, ((k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    size = -(-len(maps) // stride)
    out = np.empty((size, size, kernel.shape[3]))
    for i in range(size):
        for j in range(size):
            window = bordered[stride * i : stride * i + k, stride * j : stride * j + k]
            out[i, j] = np.einsum("abc,abco->o", window, kernel)
    return out


def normalized(layer, maps, stride):
    out = convolved(maps, layer.kernel, stride)
    for some in np.split(np.arange(out.shape[2]), GROUPS):
        group = out[:, :, some]
        out[:, :, some] = (group - group.mean()) / np.sqrt(group.var() + 1e-5)
    return out * layer.norm.scale + layer.norm.shift


def scores(params, image):
    maps = np.maximum(normalized(params.stem, image.reshape(SIDE, SIDE, 3), 1), 0)
    for s, stage in enumerate(params.stages):
        for b, block in enumerate(stage):
            stride = 2 if s > 0 and b == 0 else 1
            inner = np.maximum(normalized(block.first, maps, stride), 0)
            inner = normalized(block.second, inner, 1)
            if block.shortcut is not None:
                maps = normalized(block.shortcut, maps, stride)
            maps = np.maximum(inner + maps, 0)
    return maps.mean(axis=(0, 1)) @ params.head.weights + params.head.biases


def test_value_and_accuracy_are_those_of_a_loop(problem, x):
    params = jax.tree.map(np.asarray, problem.unravel(x))
    out = np.stack([scores(params, image) for image in IMAGES.images.astype(float)])
    losses = -out[np.arange(N), IMAGES.labels] + np.log(np.exp(out).sum(axis=1))
    expected = np.mean([losses[part].mean() for part in PARTS])
    np.testing.assert_allclose(problem.value(x), expected, rtol=1e-11)
    guesses = np.array([scores(params, i).argmax() for i in HELD_OUT.images.astype(float)])
    for labels in (HELD_OUT.labels, guesses, np.where(np.arange(4) < 3, guesses, 11)):
        changed = jnp.asarray(labels, jnp.int32)
        asked = jax.tree.map(lambda a: a, problem)
        object.__setattr__(asked, "held_out", (problem.held_out[0], changed))
        np.testing.assert_allclose(asked.accuracy(x), np.mean(guesses == labels), rtol=1e-12)


def test_gradients_are_finite_differences_however_they_are_asked_for(problem, x):
    direction = jax.random.normal(jax.random.key(3), (problem.d,))
    # Smaller than the way to the next kink of a relu.
    h = 1e-8 * np.array([0.0, 1.0, -1.0])

    @jax.jit
    def all_of(problem, x):
        each = jax.vmap(lambda i: problem.local_grad(x, i))(jnp.arange(3))
        steps = x[None] + h[:, None] * direction[None]
        # Samples of parts 1 and 2 are drawn for certain.
        jobs = {"keys": jax.random.split(jax.random.key(0), 2), "workers": jnp.array([1, 2])}
        total = problem.weighted_grad_sum(
            x, jnp.array([1, 1]), jnp.array([2.0, -1.0]), **jobs, most=1
        )
        return each, jax.vmap(problem.value_and_grad)(steps), total

    each, (values, gradients), total = all_of(problem, x)
    slope = float(values[1] - values[2]) / 2e-8
    assert direction @ gradients[0] == pytest.approx(slope, rel=1e-6, abs=1e-7)
    np.testing.assert_allclose(each.mean(axis=0), gradients[0], rtol=1e-9, atol=1e-13)
    assert not np.array_equal(gradients[0], gradients[1])
    # No sample's loss depends on those beside it, as it would with batch normalization.
    np.testing.assert_allclose(total, 2 * each[1] - each[2], rtol=1e-9, atol=1e-13)


def arrays_of_batch_normalized(width, colours=3, classes=10):
    """Parameters of the customary network for CIFAR-10, layer by layer: 20 convolutions of no bias,
    each with a scale and a shift per channel, and a dense layer."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    convolutions = [(9, colours, width)]
    for before, after in zip([width, *widths], widths, strict=False):
        convolutions += [(9, before, after)] + 3 * [(9, after, after)]
        convolutions += [(1, before, after)] if before != after else []
    weights = [taps * before * after for taps, before, after in convolutions]
    norms = [after for _, _, after in convolutions for _ in range(2)]
    return [*weights, *norms, widths[-1] * classes, classes]


@pytest.mark.parametrize(("width", "d"), [(16, 701_466), (64, 11_173_962)])
def test_sizes_are_the_known_ones(width, d):
    built = resnet18(made_up(2, side=32), width=width)
    names = leaf_names(built.params)
    assert built.d == d == sum(arrays_of_batch_normalized(width))
    assert len(names) == 62
    sizes = [int(np.prod(shape)) for shape in names.values()]
    assert sorted(sizes) == sorted(arrays_of_batch_normalized(width))
    # The vector holds the arrays in this order: images meet the stem first.
    assert list(names)[:2] == ["stem.kernel", "stem.norm.scale"]
    assert list(names)[-1] == "head.biases"
    ends = np.cumsum(sizes)
    scale = list(names).index("stages.3.1.second.norm.scale")
    np.testing.assert_array_equal(built.start()[ends[scale - 1] : ends[scale]], 1)


def test_start_is_drawn_as_documented():
    params = resnet18(IMAGES, width=16, seed=3).params
    for name, leaf in zip(leaf_names(params), jax.tree.leaves(params), strict=True):
        if "kernel" in name or "weights" in name:
            gain = 2 if "kernel" in name else 1
            z = np.asarray(leaf, float).reshape(-1) * np.sqrt(np.prod(leaf.shape[:-1]) / gain)
            assert abs(z.mean()) < 5 / np.sqrt(z.size)
            assert abs(z.var() - 1) < 5 * np.sqrt(2 / z.size)
        else:
            np.testing.assert_array_equal(leaf, 1.0 if "scale" in name else 0.0)
    same, other = resnet18(IMAGES, width=16, seed=3), resnet18(IMAGES, width=16, seed=4)
    np.testing.assert_array_equal(same.start()[:100], params.stem.kernel.reshape(-1)[:100])
    assert not np.array_equal(same.start(), other.start())
    # Programs of problems that differ in numbers alone are shared.
    assert jax.tree.structure(same) == jax.tree.structure(other)


@pytest.mark.slow
@pytest.mark.data
def test_cifar_is_learned():
    root = os.environ["DOPT_DATA"]
    if not Path(root, "cifar10_jpeg").is_dir():
        pytest.skip("DOPT_DATA names no folder with CIFAR-10 in cifar10_jpeg/")
    images, held_out = load_cifar(root, samples=500), load_cifar(root, samples=1000, test=True)
    problem = resnet18(images, width=8, groups=2, n=4, held_out=held_out)
    seen = resnet18(images, width=8, groups=2)

    def step(x, key):
        each = jax.vmap(lambda k, i: problem.stochastic_grad(x, key=k, worker=i))(
            jax.random.split(key, 4), jnp.arange(4, dtype=jnp.int32)
        )
        return x - 0.03 * each.mean(axis=0), None

    keys = jax.random.split(jax.random.key(0), 60)
    x = jax.jit(lambda x: jax.lax.scan(step, x, keys)[0])(problem.start())
    assert problem.value(x) < 0.8 * problem.value(problem.start())
    # By chance a tenth is right, with errors of 0.013 and 0.0095.
    assert seen.accuracy(x) > 0.25
    assert problem.accuracy(x) > 0.13


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "seed = -1"),
        ({"blocks": ()}, r"blocks = \(\)"),
        ({"blocks": (2, 0)}, r"blocks = \(2, 0\)"),
        ({"width": 12}, "groups = 8 do not divide width = 12"),
        ({"width": 0}, "width = 0"),
        ({"groups": 0}, "groups = 0"),
        ({"dtype": np.int32}, "models are floats"),
        ({"n": 5}, "n = 5 does not cut 6"),
        ({"at_once": 0}, "at_once = 0"),
        ({"held_out": made_up(2, side=8)}, "held-out samples are .*give them one kind"),
    ],
)
def test_bad_values_are_refused(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        resnet18(IMAGES, **{"width": 8, "blocks": (1,), **arguments})


def test_images_that_are_no_squares_are_refused():
    odd = Images(np.zeros((2, 200), np.float32), np.zeros(2, np.int32), "odd")
    with pytest.raises(ConfigurationError, match="images of 200 numbers are no squares"):
        resnet18(odd)
