"""A decoder trained on tokens, resumable at every checkpoint with the same numbers."""

import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float64, Int, Int32

from dopt.errors import ConfigurationError
from dopt.evaluation.steps import OnProgress, Steps, Stopping
from dopt.models.config import Config
from dopt.models.decoder import logits
from dopt.models.parameters import Model, Params, random_parameters
from dopt.training.checkpoint import restore, save
from dopt.training.settings import Training


class History(NamedTuple):
    """The curve of a training: one row a measurement."""

    steps: Float64[np.ndarray, " N"]
    training: Float64[np.ndarray, " N"]
    """Nats a token, the mean over the steps since the row before."""
    held_out: Float64[np.ndarray, " N"]
    """Nats a token of the held-out part, in disjoint windows."""


class _State(NamedTuple):
    params: Params
    optimizer: Any
    step: Int32[Array, ""]
    loss: Float[Array, ""]
    """The sum of the steps' losses since the last measurement."""
    history: Float[Array, "N 3"]


def train(
    config: Config,
    training: Int32[np.ndarray, " n"],
    held_out: Int32[np.ndarray, " m"],
    how: Training,
    *,
    folder: Path | None = None,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
    on_row: Callable[[int, float, float], None] | None = None,
) -> tuple[Model, History]:
    """A model in float32, and its curve.

    Step i sees windows that begin anywhere in the training part, drawn from (seed, i) alone.

    Args:
        config: of the model.
        training: tokens to train on.
        held_out: tokens that are measured on.
        how: the settings.
        folder: for checkpoints; one of the same training that lies there is gone on from. The last
            one stays until `dopt.training.forget(folder)`.
        on_progress: told (steps done, steps in all).
        stopping: asked after every step; True ends the training, which is kept.
        on_row: told each measurement: step, training loss, held-out loss.

    Raises:
        ConfigurationError: a part shorter than a window, a window longer than the model's context,
            tokens outside of the vocabulary, a checkpoint of another training, or a loss that is
            no number any more.
        InterruptedRunError: `stopping` said so.
    """
    _check(config, training, held_out, how)
    optimizer = how.optimizer()
    params = random_parameters(config, jax.random.key(how.seed))
    rows = -(-how.steps // how.every)
    zero = jnp.zeros((), jnp.float32)
    blank = jnp.full((rows, 3), jnp.nan, jnp.float32)
    state = _State(params, optimizer.init(params), jnp.zeros((), jnp.int32), zero, blank)
    what = _what(config, training, held_out, how)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        state = restore(folder, state, what) or state
    steps = Steps(how.steps, on_progress, stopping, "what is done is kept; go on from it")
    steps.done = int(state.step)
    for i in range(steps.done, how.steps):
        state = _stepped(state, jnp.asarray(_batch(training, how, i)), config, how)
        measured = (i + 1) % how.every == 0 or i + 1 == how.steps
        if measured:
            state = _measured(state, config, held_out, how, i, on_row)
        if folder is not None and (measured or (stopping is not None and stopping())):
            save(folder, state, what)
        steps.step()
    return Model(state.params, config), History(*np.asarray(state.history, np.float64).T)


def held_out_loss(
    params: Params, config: Config, tokens: Int32[np.ndarray, " m"], how: Training
) -> float:
    """Nats a token in disjoint windows; the first of each is not scored, a rest is left out."""
    windows = tokens[: len(tokens) // how.window * how.window].reshape(-1, how.window)
    total = 0.0
    for at in range(0, len(windows), how.batch):
        rows = windows[at : at + how.batch]
        # One shape is compiled: the last batch is filled up, and its losses are cut again.
        filled = np.resize(rows, (how.batch, how.window))
        total += float(np.asarray(_losses(params, config, jnp.asarray(filled)))[: len(rows)].sum())
    return total / (len(windows) * (how.window - 1))


def _check(config: Config, training: np.ndarray, held_out: np.ndarray, how: Training) -> None:
    config.check_length(how.window)
    for name, tokens, least in (
        ("training", training, how.window + 1),
        ("held-out", held_out, how.window),
    ):
        if len(tokens) < least:
            raise ConfigurationError(
                f"the {name} part has {len(tokens)} tokens; with window = {how.window} it must "
                f"have at least {least}: give more text or a shorter window"
            )
        if not 0 <= tokens.min() <= tokens.max() < config.vocabulary:
            raise ConfigurationError(
                f"the {name} part has tokens from {tokens.min()} to {tokens.max()}; the vocabulary "
                f"has {config.vocabulary}"
            )


def _what(
    config: Config, training: np.ndarray, held_out: np.ndarray, how: Training
) -> dict[str, str]:
    """What decides the numbers of a training."""
    text = hashlib.sha256(training.tobytes() + held_out.tobytes()).hexdigest()
    return {"model": repr(config), "setting": repr(how), "text": text}


def _batch(training: np.ndarray, how: Training, step: int) -> Int32[np.ndarray, "B T"]:
    random = np.random.default_rng([how.seed, step])
    starts = random.integers(0, len(training) - how.window, how.batch)
    return training[starts[:, None] + np.arange(how.window)]


@partial(jax.jit, static_argnames="config")
def _losses(params: Params, config: Config, tokens: Int[Array, "B T"]) -> Float[Array, " B"]:
    """The sum of −log p over each row, its first token left out."""
    scores = jax.nn.log_softmax(logits(params, config, tokens)[:, :-1], axis=-1)
    return -jnp.take_along_axis(scores, tokens[:, 1:, None], axis=-1)[..., 0].sum(axis=1)


@partial(jax.jit, static_argnames=("config", "how"), donate_argnames="state")
def _stepped(state: _State, tokens: Int[Array, "B T"], config: Config, how: Training) -> _State:
    def mean(params: Params) -> Array:
        return _losses(params, config, tokens).sum() / (how.batch * (how.window - 1))

    loss, gradients = jax.value_and_grad(mean)(state.params)
    updates, optimizer = how.optimizer().update(gradients, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return _State(params, optimizer, state.step + 1, state.loss + loss, state.history)


def _measured(
    state: _State,
    config: Config,
    held_out: np.ndarray,
    how: Training,
    step: int,
    on_row: Callable[[int, float, float], None] | None,
) -> _State:
    """The state with one more row in its history."""
    row = step // how.every
    trained = float(state.loss) / (step + 1 - row * how.every)
    if not math.isfinite(trained):
        raise ConfigurationError(
            f"the loss is {trained} by step {step + 1}; give a smaller rate than {how.rate}"
        )
    held = held_out_loss(state.params, config, held_out, how)
    if on_row is not None:
        on_row(step + 1, trained, held)
    values = jnp.array([step + 1, trained, held], jnp.float32)
    return state._replace(
        loss=jnp.zeros((), jnp.float32), history=state.history.at[row].set(values)
    )
