import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compressing import CONFIG

from dopt.compression.gradients import by_gradients, first_order
from dopt.compression.streams import Streams
from dopt.errors import ConfigurationError, InterruptedRunError
from dopt.evaluation import cut, perplexity
from dopt.models import Model, logits, random_parameters
from dopt.models.parameters import leaf, linear_paths, replaced


TINY = dataclasses.replace(CONFIG, vocabulary=7, layers=2, d_model=16, heads=2, kv_heads=2,
                           head_size=8, d_ff=16)  # fmt: skip
TEXT = np.random.default_rng(0).integers(0, 7, 30)


def tiny(scale=8.0):
    """Weights large enough for logits that differ."""
    params = random_parameters(TINY, jax.random.key(1), jnp.float32)
    larger = {p: scale * leaf(params, p) for p in [*linear_paths(TINY), ("embedding",)]}
    return Model(replaced(params, larger), TINY)


@pytest.fixture(scope="module")
def streams():
    return Streams(tiny(), cut(TEXT, 12))


def test_alpha_is_the_trace_of_the_fisher_matrix(streams):
    model, windows = streams.model, streams.windows
    traces = dict.fromkeys(linear_paths(TINY), 0.0)

    @jax.jit
    def jacobian(params, tokens):
        return jax.jacobian(lambda p: jax.nn.log_softmax(logits(p, TINY, tokens)[0]))(params)

    for tokens, scored in zip(windows.tokens, windows.scored, strict=True):
        at = np.flatnonzero(scored) - 1
        p = np.exp(jax.nn.log_softmax(logits(model.params, TINY, tokens[None])[0]))[at]
        slopes = jacobian(model.params, jnp.asarray(tokens[None]))
        for place in traces:
            squares = np.sum(np.asarray(leaf(slopes, place))[at].astype(np.float64) ** 2, (2, 3))
            traces[place] += float(np.sum(p * squares))
    estimates = [by_gradients(streams, 50, seed) for seed in range(4)]
    for place, trace in traces.items():
        W = np.asarray(leaf(model.params, place), np.float64)
        alpha = np.sum(W**2) * trace / windows.counts.sum() / (2 * W.size)
        found = np.array([estimate[place] for estimate in estimates])
        error = found.std(ddof=1) / 2
        assert abs(found.mean() - alpha) < 5 * error + 1e-3 * alpha, place
        assert error < 0.1 * alpha


def test_the_first_order_is_the_slope_of_the_perplexity_as_weights_shrink(streams):
    model, found = streams.model, first_order(streams)

    def value(place, factor):
        changed = replaced(model.params, {place: jnp.float32(factor) * leaf(model.params, place)})
        return perplexity(Model(changed, TINY), streams.windows).value

    for place in [("layers", 0, "q"), ("layers", 1, "down"), ("layers", 1, "v")]:
        slope = (value(place, 0.99) - value(place, 1.01)) / 0.02
        assert found[place] == pytest.approx(slope, rel=0.02, abs=1e-3)


def test_estimates_are_the_same_from_run_to_run(streams):
    assert by_gradients(streams, 1, 3) == by_gradients(streams, 1, 3)
    assert by_gradients(streams, 1, 3) != by_gradients(streams, 1, 4)


def test_refusals_and_stops(streams):
    with pytest.raises(ConfigurationError, match="draws = 0"):
        by_gradients(streams, 0)
    with pytest.raises(InterruptedRunError):
        by_gradients(streams, 1, stopping=lambda: True)
    seen = []
    by_gradients(streams, 2, on_progress=lambda *step: seen.append(step))
    assert seen == [(i, 6) for i in range(1, 7)]
    assert math.isfinite(sum(first_order(streams).values()))
