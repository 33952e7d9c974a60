"""How fast a model is on this machine."""

import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from dopt.errors import ConfigurationError
from dopt.evaluation.steps import OnProgress, Steps, Stopping
from dopt.models.decoder import decode_step, prefill
from dopt.models.parameters import Model


class Rate(NamedTuple):
    """Tokens per second in repeated runs."""

    median: float
    lowest: float
    highest: float


class Speed(NamedTuple):
    """Of reading a prompt, and of drawing tokens one after another."""

    prefill: Rate
    decoding: Rate


def speed(
    model: Model,
    *,
    prompt: int = 128,
    new_tokens: int = 32,
    rows: int = 1,
    repeats: int = 5,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
) -> Speed:
    """Measures both after one run that is not counted, which compiles.

    Drawing takes the likeliest token, with a cache. The machine should have nothing else to do.

    Args:
        model: the decoder.
        prompt: tokens that are read.
        new_tokens: that are drawn behind them.
        rows: of the batch; tokens of all rows count.
        repeats: runs that are counted.
        on_progress: told how many runs are done, and of how many.
        stopping: asked after every run.

    Raises:
        ConfigurationError: a number below 1, or more tokens than the model was made for.
        InterruptedRunError: the user has asked to stop.
    """
    if min(prompt, new_tokens, rows, repeats) < 1:
        raise ConfigurationError(
            f"prompt = {prompt}, new_tokens = {new_tokens}, rows = {rows} and repeats = {repeats}; "
            "each must be at least 1"
        )
    config = model.config
    config.check_length(prompt + new_tokens)
    drawn = np.random.default_rng(0).integers(0, config.vocabulary, (rows, prompt), np.int32)
    tokens, lengths = jnp.asarray(drawn), jnp.full(rows, prompt, jnp.int32)
    steps = Steps(repeats + 1, on_progress, stopping)
    reading, drawing = [], []
    for _ in range(repeats + 1):
        read, drew = _seconds(model, tokens, lengths, new_tokens)
        reading.append(rows * prompt / read)
        drawing.append(rows * new_tokens / drew)
        steps.step()
    return Speed(_rate(reading[1:]), _rate(drawing[1:]))


def _seconds(
    model: Model, tokens: Int[Array, "B T"], lengths: Int[Array, " B"], new_tokens: int
) -> tuple[float, float]:
    """Of one run: until the prompt is read, and from there until the tokens are drawn."""
    params, config = model
    begun = time.perf_counter()
    logits, cache = prefill(params, config, tokens, lengths, tokens.shape[1] + new_tokens)
    jax.block_until_ready((logits, cache))
    between = time.perf_counter()
    for _ in range(new_tokens):
        token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        logits, cache = decode_step(params, config, token, cache)
    jax.block_until_ready(logits)
    return between - begun, time.perf_counter() - between


def _rate(rates: list[float]) -> Rate:
    return Rate(statistics.median(rates), min(rates), max(rates))
