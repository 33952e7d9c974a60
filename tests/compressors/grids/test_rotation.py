import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard

from compressors.grids import group_sizes, rotate_groups, rotate_groups_back, seed_of_signs
from compressors.kernels.hadamard import block_hadamard


KEY = jax.random.key(7)


@pytest.mark.parametrize(
    ("inputs", "largest"),
    [(16, 16), (576, 64), (1536, 512), (2048, 2048), (4096, 4096), (11008, 256), (14336, 2048)],
)
def test_sizes_that_divide_a_layer(inputs, largest):
    sizes = group_sizes(inputs)
    assert sizes[0] == largest
    assert sizes == tuple(sorted(sizes, reverse=True))
    assert sizes[-1] == 16
    assert all(inputs % size == 0 for size in sizes)


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "signs"])
def test_a_rotation_is_orthogonal_in_blocks(size, key):
    inputs = 3 * size
    matrix = np.asarray(rotate_groups(jnp.eye(inputs, dtype=jnp.float64), size, key=key)).T
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(inputs), atol=1e-13)
    blocks = np.kron(np.eye(inputs // size), hadamard(size)) / np.sqrt(size)
    signs = matrix[::size].sum(axis=0) * np.sqrt(size)
    np.testing.assert_allclose(np.abs(signs), 1)
    np.testing.assert_allclose(matrix, blocks * signs, atol=1e-14)
    assert (key is None) == (signs > 0).all()
    if key is not None:
        assert abs(signs.sum()) <= 5 * np.sqrt(inputs)


@pytest.mark.parametrize(
    ("dtype", "accuracy"), [(jnp.float64, 1e-14), (jnp.float32, 2e-6), (jnp.bfloat16, 0.04)]
)
def test_back_is_the_inverse(dtype, accuracy):
    w = jax.random.normal(KEY, (5, 576), dtype)
    z = rotate_groups(w, 64, key=KEY)
    assert z.dtype == w.dtype
    back = rotate_groups_back(z, 64, key=KEY)
    np.testing.assert_allclose(
        np.asarray(back, np.float64), np.asarray(w, np.float64), atol=accuracy
    )


def test_a_layer_is_the_same_with_both_sides_rotated():
    w = jax.random.normal(jax.random.key(1), (7, 576), jnp.float64)
    x = jax.random.normal(jax.random.key(2), (2, 3, 576), jnp.float64)
    turned = rotate_groups(x, 64, key=KEY) @ rotate_groups(w, 64, key=KEY).T
    np.testing.assert_allclose(turned, x @ w.T, atol=1e-11)
    other = rotate_groups(x, 64, key=jax.random.key(8)) @ rotate_groups(w, 64, key=KEY).T
    assert np.abs(np.asarray(other - x @ w.T)).max() > 1


def test_the_stored_seed_gives_the_signs_again():
    w = jax.random.normal(KEY, (5, 576))
    stored = int(seed_of_signs(KEY))
    np.testing.assert_array_equal(rotate_groups(w, 64, key=KEY), block_hadamard(w, 64, seed=stored))


def test_a_group_of_one_large_weight_becomes_flat():
    w = jnp.zeros((5, 576)).at[:, 70].set(8.0)
    np.testing.assert_allclose(np.abs(rotate_groups(w, 64, key=KEY)[:, 64:128]), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (0, "a layer of 0 inputs: give 1 or more"),
        (8, "divides 8 inputs: pad them with zeros to 16"),
        (1000, "divides 1000 inputs: pad them with zeros to 1008"),
    ],
)
def test_layers_that_no_size_divides(inputs, message):
    with pytest.raises(ValueError, match=message):
        group_sizes(inputs)


def test_sizes_that_are_refused():
    w = jnp.zeros((2, 576))
    with pytest.raises(ValueError, match="blocks of 128 numbers do not fill an axis of 576: pad"):
        rotate_groups(w, 128)
    with pytest.raises(
        ValueError, match="blocks of 48 numbers cannot be transformed: give a power"
    ):
        rotate_groups_back(w, 48, key=KEY)
