import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors._bijection import SHUFFLED_AT_MOST, scattered


KEY = jax.random.key(4)


@pytest.mark.parametrize("d", [1, 7, SHUFFLED_AT_MOST, 1025, 2048, 4099, 100_003])
def test_every_place_has_its_own_image(d):
    images = np.asarray(scattered(KEY, jnp.arange(d, dtype=jnp.int32), d))
    np.testing.assert_array_equal(np.sort(images), np.arange(d))
    if d > 100:
        assert abs(np.corrcoef(images, np.arange(d))[0, 1]) < 5 / math.sqrt(d)
        steps = np.diff(images) % d
        assert len(np.unique(steps)) > 0.6 * d


def test_images_are_uniform_and_independent_over_keys():
    d, draws, bins = 1500, 8000, 10
    places = jnp.asarray([0, 1, 2, 700, 1499], jnp.int32)
    draw = jax.jit(jax.vmap(lambda key: scattered(key, places, d)))
    images = np.asarray(draw(jax.random.split(KEY, draws))) * bins // d
    expected = draws / bins
    for column in images.T:
        counts = np.bincount(column, minlength=bins)
        assert np.sum((counts - expected) ** 2 / expected) < 40
    for other in images.T[1:]:
        counts = np.bincount(images[:, 0] * bins + other, minlength=bins**2)
        assert np.sum((counts - draws / 100) ** 2 / (draws / 100)) < 180
