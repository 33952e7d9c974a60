"""The optimiser, beside AdamW written out."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.training import Training


def test_steps_are_those_of_adamw_written_out():
    how = Training(steps=20, rate=0.1, warmup=2, decay=0.5, clip=1.0)
    random = np.random.default_rng(0)
    x = {"w": random.normal(size=(2, 3)), "norm": random.normal(size=3)}
    params = {name: jnp.asarray(value) for name, value in x.items()}
    optimizer = how.optimizer()
    state = optimizer.init(params)
    m, v = ({name: np.zeros_like(value) for name, value in x.items()} for _ in range(2))
    for t in range(20):
        gradient = {name: random.normal(size=value.shape) for name, value in x.items()}
        updates, state = optimizer.update(
            {name: jnp.asarray(value) for name, value in gradient.items()}, state, params
        )
        params = {name: params[name] + updates[name] for name in params}
        # From a third of the rate to all of it in two steps, then half a cosine down to a tenth.
        turn = (1 + math.cos(math.pi * (t - 2) / 18)) / 2
        rate = 0.1 * (t + 1) / 3 if t < 2 else 0.01 + 0.09 * turn
        length = math.sqrt(sum((g**2).sum() for g in gradient.values()))
        for name, g in gradient.items():
            g = g / max(length, 1.0)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.95 * v[name] + 0.05 * g**2
            step = m[name] / (1 - 0.9 ** (t + 1))
            step /= np.sqrt(v[name] / (1 - 0.95 ** (t + 1))) + 1e-8
            x[name] = x[name] - rate * (step + 0.5 * x[name] * (name == "w"))
            np.testing.assert_allclose(params[name], x[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "steps = 0; it must be at least 1"),
        ({"window": 1}, "window = 1; it must be at least 2"),
        ({"rate": 0.0}, "rate = 0.0; it must be above 0"),
        ({"rate": math.nan}, "rate = nan"),
        ({"decay": 1.0}, r"decay = 1.0; it must be in \[0, 1\)"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_impossible_settings_are_refused(change, words):
    with pytest.raises(ConfigurationError, match=words):
        Training(**change)
