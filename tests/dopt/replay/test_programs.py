"""What the compiled loop holds and does: read from the program that XLA made."""

import importlib
import re
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors.kernels.threefry import ROUNDS
from dopt.methods import AsynchronousSGD, MinibatchSGD, RennalaSGD
from dopt.problems import GaussianNoise, LogisticRegression, TridiagonalQuadratic
from simulators import timeline
from simulators.cluster import Cluster


D, N = 300, 20
CARRY = 4
"""Place of what is carried among the arguments of `advance`."""


@pytest.fixture
def program(monkeypatch):
    """The text of the first compiled loop of a replay."""
    module = importlib.import_module("dopt.replay.replay")
    advance = module.advance

    def text(problem, method, **grid):
        found = []

        def spy(*arguments, **keywords):
            if not found:
                # Lists of arrays: types are checked in what `lower` puts in the place of arrays.
                carried, tree = jax.tree.flatten(arguments[CARRY])
                others, rest = jax.tree.flatten([*arguments[:CARRY], *arguments[CARRY + 1 :]])

                def whole(carried, others):
                    given = jax.tree.unflatten(rest, others)
                    given.insert(CARRY, jax.tree.unflatten(tree, carried))
                    return advance(*given, **keywords)

                lowered = jax.jit(whole, donate_argnums=0).lower(carried, others)
                found.append(lowered.compile().as_text())
            return advance(*arguments, **keywords)

        monkeypatch.setattr(module, "advance", spy)
        bits = method.compressor.nbits(D, problem.dtype)
        costs = Cluster(np.sqrt(np.arange(1.0, N + 1)), np.zeros(N)).costs(
            d=D, dtype=problem.dtype, message_bits=bits
        )
        schedule = timeline(method.policy(costs, D), costs, steps=50)
        module.replay(problem, method, schedule, **grid)
        return found[0]

    return text


def noisy():
    return TridiagonalQuadratic(D, noise=GaussianNoise(0.1), dtype=jnp.float32)


def shapes(text, operation):
    """Of every result of `operation`, how many numbers it has along each axis."""
    found = re.findall(rf"= \w+\[([\d,]*)\]\S* {operation}\(", text)
    return [tuple(map(int, axes.split(","))) if axes else () for axes in found]


@pytest.mark.parametrize("grid", [{}, {"step_sizes": [0.1, 0.2, 0.3], "seeds": [0, 1]}])
def test_the_models_are_written_in_place(program, grid):
    text = program(noisy(), AsynchronousSGD(1e-3, "plain"), **grid)
    runs = tuple(len(values) for values in reversed(grid.values()))
    several = [axes for axes in shapes(text, "parameter") if axes[1:] == (*runs, D)]
    models = max(several)
    assert N / 2 < models[0] <= N
    assert models not in shapes(text, "copy")


@pytest.mark.parametrize("grid", [{}, {"step_sizes": [0.1, 0.2, 0.3]}])
@pytest.mark.parametrize("method", [AsynchronousSGD(1e-3, "plain"), RennalaSGD(0.1, batch=10)])
def test_noise_is_drawn_once_for_all_step_sizes(program, method, grid):
    jobs = 1 if isinstance(method, AsynchronousSGD) else 10
    ciphers = [
        axes for axes in shapes(program(noisy(), method, **grid), "xor") if prod(axes) > jobs
    ]
    assert {prod(axes) for axes in ciphers} == {jobs * D // 2}
    assert len(ciphers) <= ROUNDS + 1


def test_data_are_arguments(program):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((10 * N, D), np.float32)
    labels = np.where(rng.random(10 * N) < 0.5, -1, 1).astype(np.float32)
    problem = LogisticRegression.from_arrays(features, labels, n=N, batch=None)
    text = program(problem, MinibatchSGD(0.1))
    assert (N, 10, D) in shapes(text, "parameter")
    assert max(prod(axes) for axes in shapes(text, "constant")) <= 2 * N
