import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.problems import _sampling
from dopt.problems._sampling import sum_over_batches


POPULATION, BATCH = 11, 3


WEIGHTS = np.array([-1.0, 0.5, 2.0, 1.5])
FIRSTS = POPULATION * np.array([0, 1, 0, 1])
KEYS = jax.random.split(jax.random.key(3), 4)


def histogram(indices, shares):
    """As a gradient: how often each sample was drawn."""
    drawn = jax.nn.one_hot(indices, 2 * POPULATION, dtype=shares.dtype)
    return jnp.einsum("rbc,r->c", drawn, shares)


def by_hand(counts, length, populations):
    total = np.zeros(2 * POPULATION)
    for p, key in enumerate(KEYS):
        for l in range(counts[p]):  # noqa: E741
            block = jax.random.fold_in(key, l // length)
            rows = jax.random.randint(block, (length, BATCH), 0, populations[p], jnp.int32)
            for i in np.asarray(rows[l % length]) + FIRSTS[p]:
                total[i] += WEIGHTS[p]
    return total


EACH = np.array([11, 3, 1, 7])


@pytest.mark.parametrize(
    ("limit", "most", "population"),
    [
        (7, 13, POPULATION),
        (12, 9, EACH),
        (12, 13, POPULATION),
        (30, 9, EACH),
        (1000, 9, POPULATION),
        (1000, 300, EACH),
    ],
)
def test_sum_is_that_of_the_documented_draws(monkeypatch, limit, most, population):
    """Whether the passes take one or more mini-batches, blocks and groups of jobs."""
    monkeypatch.setattr(_sampling, "LARGEST_PASS", limit)

    @jax.jit
    def summed(counts):
        arrays = counts, jnp.asarray(WEIGHTS), jnp.asarray(FIRSTS)
        drawn_from = population if isinstance(population, int) else jnp.asarray(population)
        sizes = {"population": drawn_from, "batch": BATCH, "most": most}
        return sum_over_batches(histogram, jnp.zeros(2 * POPULATION), *arrays, keys=KEYS, **sizes)

    for counts in ([0, 0, 0, 0], [1, 1, 1, 1], [2, 0, 9, 1]):
        populations = np.broadcast_to(population, 4)
        expected = by_hand(counts, max(1, limit // BATCH), populations)
        np.testing.assert_allclose(summed(jnp.asarray(counts)), expected, atol=1e-12)


def test_passes_are_bounded(monkeypatch):
    monkeypatch.setattr(_sampling, "LARGEST_PASS", 24)
    seen = []

    def one_pass(indices, shares):
        seen.append(indices.shape)
        return histogram(indices, shares)

    for jobs, most in [(1, 4), (50, 1), (50, 100), (3, 8), (2, 2)]:
        sizes = {"population": POPULATION, "batch": BATCH, "most": most}
        jax.eval_shape(
            lambda keys, counts, sizes=sizes: sum_over_batches(
                one_pass,
                jnp.zeros(2 * POPULATION),
                counts,
                jnp.ones(counts.shape),
                jnp.zeros_like(counts),
                keys=keys,
                **sizes,
            ),
            jax.random.split(jax.random.key(0), jobs),
            jnp.full(jobs, most),
        )
    assert len(seen) == 5
    assert all(rows * batch <= 24 for rows, batch in seen)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_short_draw_is_the_beginning_of_a_long_one(batch):
    key = jax.random.key(5)
    longest = jax.random.randint(key, (100, batch), 0, 60_000, jnp.int32)
    for rows in (1, 2, 7, 64):
        shorter = jax.random.randint(key, (rows, batch), 0, 60_000, jnp.int32)
        np.testing.assert_array_equal(shorter, longest[:rows])
