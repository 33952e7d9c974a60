import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from packing import read_planar

from compressors import EDEN, AsymptoticallyUnbiased, Unbiased, UniformEDEN
from compressors._gaussian_grid import lloyd_max
from compressors.eden import MOST_UNIFORM


KEY = jax.random.key(6)


def results(compressor, x, draws):
    one = jax.jit(lambda key: compressor.expand(compressor.compress(x, key=key)))
    return np.asarray(jax.lax.map(one, jax.random.split(KEY, draws), batch_size=64))


def outcomes(bits, x):
    """C(x) with one transform for all sign patterns, in plain numpy; p = d."""
    d = len(x)
    h = scipy.linalg.hadamard(d) / math.sqrt(d)
    points, thresholds, _ = lloyd_max(bits)
    for signs in itertools.product([-1, 1], repeat=d):
        rotation = h * np.array(signs)
        z = math.sqrt(d) * rotation @ x / np.linalg.norm(x)
        q = points[np.searchsorted(thresholds, z)]
        yield np.linalg.norm(x) * math.sqrt(d) / (z @ q) * rotation.T @ q


@pytest.mark.parametrize("bits", [1, 2])
def test_one_transform_is_a_draw_among_all_sign_patterns_and_biased(bits):
    x = np.array([1.0, 0.6, -0.3, 0.05])
    expected = np.unique(np.stack(list(outcomes(bits, x))).round(9), axis=0)
    seen = np.unique(results(EDEN(bits, transforms=1), jnp.asarray(x), 256).round(9), axis=0)
    np.testing.assert_allclose(seen, expected, atol=1e-8)
    bias = np.mean(list(outcomes(bits, x)), axis=0) - x
    assert np.linalg.norm(bias) > 0.05 * np.linalg.norm(x)


@pytest.mark.parametrize("d", [4, 8])
def test_one_transform_and_one_bit_can_lose_a_coordinate(d):
    x = np.array([1.0, 0.99] + [0.0] * (d - 2))
    bias = np.mean(list(outcomes(1, x)), axis=0) - x
    np.testing.assert_allclose(bias[1], -0.99, atol=1e-12)
    assert np.linalg.norm(bias) > 0.98 * np.linalg.norm(x)


def relative_bias(compressor, x, draws):
    """‖E C(x) − x‖/‖x‖ from products of different draws, so without the variance in it."""
    error = (results(compressor, jnp.asarray(x), draws) - x) / np.linalg.norm(x)
    square = np.sum(error.sum(axis=0) ** 2) - np.sum(error**2)
    return math.sqrt(max(square / (draws * (draws - 1)), 0.0))


def test_two_transforms_lose_their_bias_where_one_does_not():
    def sparse(d):
        return np.array([1.0, 0.99] + [0.0] * (d - 2))

    assert relative_bias(EDEN(1, transforms=1), sparse(2048), 64) > 0.98
    assert relative_bias(EDEN(1), sparse(4), 1024) > 0.1
    assert relative_bias(EDEN(1), sparse(2048), 256) < 0.05
    flat = np.random.default_rng(0).normal(size=2048)
    assert relative_bias(EDEN(1, transforms=1), flat, 256) < 0.05


@pytest.mark.parametrize(("bits", "d"), [(1, 2048), (3, 2048), (1, 1025)])
def test_the_limit_of_omega(bits, d):
    x = np.random.default_rng(1).standard_t(3, size=d)
    error = np.sum((results(EDEN(bits), jnp.asarray(x), 64) - x) ** 2, axis=1) / np.sum(x * x)
    limit = EDEN(bits).limit_omega().value
    if d == 2048:
        np.testing.assert_allclose(error.mean(), limit, rtol=0.03)
    else:
        np.testing.assert_allclose(error.mean(), limit * d / 2048, rtol=0.06)
    if bits == 1:
        np.testing.assert_allclose(limit, math.pi / 2 - 1, rtol=1e-12)


@pytest.mark.parametrize("compressor", [EDEN(2, transforms=1), UniformEDEN(2)])
def test_the_projection_on_x_is_exact_in_every_draw(compressor):
    x = np.random.default_rng(2).normal(size=16)
    along = results(compressor, jnp.asarray(x), 64) @ x
    np.testing.assert_allclose(along, x @ x, rtol=1e-12)


def test_promises_are_types():
    assert isinstance(UniformEDEN(1), Unbiased)
    assert isinstance(EDEN(1), AsymptoticallyUnbiased)
    assert not isinstance(EDEN(1), Unbiased)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_uniform_rotation_is_undone(d):
    rotation = jax.jacobian(lambda x: UniformEDEN(1)._rotate(x, KEY))(jnp.ones(d))
    back = jax.jacobian(lambda z: UniformEDEN(1)._rotate_back(z, KEY, d))(jnp.ones(d))
    np.testing.assert_allclose(back, rotation.T, rtol=0, atol=1e-14)
    np.testing.assert_allclose(back @ rotation, np.eye(d), rtol=0, atol=1e-14)


def test_a_uniform_rotation_has_the_moments_of_haar_measure():
    """E q_ij = 0, E q_ij² = 1/d, E q_ij⁴ = 3/(d(d + 2)), and for another column
    E q_11² q_12² = 1/(d(d + 2)), E q_11² q_22² = (d + 1)/((d − 1)d(d + 2)); det = ±1 evenly.
    """
    d, draws = 3, 20_000
    eye = jnp.eye(d)
    draw = jax.vmap(lambda key: jax.vmap(lambda e: UniformEDEN(1)._rotate(e, key))(eye).T)
    q = np.asarray(jax.jit(draw)(jax.random.split(KEY, draws)))

    def near(sample, expected):
        assert np.all(
            np.abs(sample.mean(axis=0) - expected) <= 5 * sample.std(axis=0) / math.sqrt(draws)
        )

    near(q, 0)
    near(q**2, 1 / 3)
    near(q**4, 1 / 5)
    near(q[:, 0, 0] ** 2 * q[:, 0, 1] ** 2, 1 / 15)
    near(q[:, 0, 0] ** 2 * q[:, 1, 1] ** 2, 4 / 30)
    near(np.linalg.det(q), 0)


def test_the_uniform_form_is_unbiased_where_the_other_is_not():
    x = np.array([1.0, 0.99, 0.0, 0.0])
    draws = 20_000
    sample = results(UniformEDEN(1), jnp.asarray(x), draws)
    error = sample.std(axis=0) / math.sqrt(draws)
    assert (np.abs(sample.mean(axis=0) - x) <= 5 * error).all()


@pytest.mark.parametrize(("compressor", "p"), [(EDEN(3), 32), (UniformEDEN(3), 21)])
def test_an_independent_reader_decodes_the_message(compressor, p):
    d = 21
    x = jax.random.normal(KEY, (d,))
    message = compressor.encode(x, key=KEY)
    q = lloyd_max(3).points[read_planar(message["words"], 3, p)]
    decoded = np.asarray(compressor.decode(message, key=KEY, d=d))
    if p == d:
        size = float(message["scale"]) * np.linalg.norm(q)
        np.testing.assert_allclose(np.linalg.norm(decoded), size, rtol=1e-12)
    assert compressor.payload_bits(d, jnp.float32) == 32 + 3 * p
    assert compressor.nbits(d, jnp.bfloat16) == 32 + 32 * math.ceil(3 * p / 32)
    assert np.dot(decoded, x) > 0.9 * np.dot(x, x)


def test_refusals():
    for bad in (0, 9):
        for family in (EDEN, UniformEDEN):
            with pytest.raises(ValueError, match=f"bits = {bad}: give from 1 to 8"):
                family(bad)
    with pytest.raises(ValueError, match="3 Hadamard transforms: give 1 or 2"):
        EDEN(1, transforms=3)
    with pytest.raises(ValueError, match=rf"d = 8193 .* give d <= {MOST_UNIFORM}, or take EDEN"):
        UniformEDEN(1).omega(8193)
