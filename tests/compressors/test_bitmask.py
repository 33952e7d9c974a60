from functools import partial

import jax
import numpy as np
import pytest

from compressors._bitmask import count, positions, ranks, to_words


def masks():
    rng = np.random.default_rng(0)
    for d in (1, 31, 32, 33, 100, 1000):
        for share in (0.0, 0.02, 0.5, 1.0):
            yield rng.random(d) < share


@partial(jax.jit, static_argnums=1)
def everything(mask, size):
    words = to_words(mask)
    return words, count(words), ranks(words), positions(words, size)


@pytest.mark.parametrize("mask", [*masks()], ids=lambda mask: f"{mask.sum()} of {mask.size}")
def test_words_say_what_the_mask_says(mask):
    d, true = mask.size, np.flatnonzero(mask)
    for size in {1, d}:
        words, n, before, listed = everything(mask, size)
        assert sum(int(word) << 32 * w for w, word in enumerate(words)) == sum(
            1 << int(i) for i in true
        )
        assert words.size == -(-d // 32)
        assert n == true.size
        np.testing.assert_array_equal(before[:d], np.cumsum(mask) - mask)
        expected = [*true, *[32 * words.size] * size][:size]
        assert listed.tolist() == expected


def test_vmap_is_the_loop():
    batch = np.random.default_rng(1).random((4, 70)) < 0.3
    together = jax.vmap(partial(everything, size=40))(batch)
    for row, one in enumerate(batch):
        for a, b in zip(together, everything(one, 40), strict=True):
            np.testing.assert_array_equal(a[row], b)
