import jax
import jax.numpy as jnp
import numpy as np

from compressors import Uniform
from compressors.allocation import brute_force
from experiments.benchmarks.allocation import (
    LADDER,
    STEPS,
    heavy_tailed,
    numpy_knapsack,
    optimum,
    resnet18,
    sender,
    tails,
)


def test_the_layers_are_those_of_resnet18():
    assert len(resnet18()) == 62
    assert sum(sender(Uniform()).sizes) == 11_173_962


def test_errors_are_those_of_the_ladder():
    (layer,) = heavy_tailed((300,))
    errors = LADDER.errors(jnp.asarray(layer), key=jax.random.key(0))
    np.testing.assert_allclose(tails([layer])[0], errors, rtol=1e-12, atol=1e-12)


def test_the_rivals_find_the_optimum_of_a_small_case():
    rng = np.random.default_rng(0)
    errors = -np.sort(-rng.pareto(1.0, (4, 5)), axis=1)
    bits = np.sort(rng.integers(0, 100, (4, 5)), axis=1)
    budget = int(bits[:, 0].sum()) + STEPS // 10
    rungs = brute_force(errors, bits, budget)
    np.testing.assert_array_equal(numpy_knapsack(errors, bits, budget), rungs)
    least, gap = optimum(errors, bits, budget)
    np.testing.assert_allclose(least, errors[np.arange(4), rungs].sum(), rtol=1e-6)
    assert gap <= 1e-6
