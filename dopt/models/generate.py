"""Text that goes on from prompts, a batch at a time."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from dopt.errors import ConfigurationError
from dopt.models.config import Config
from dopt.models.decoder import Cache, decode_step, prefill
from dopt.models.parameters import Model, Params
from dopt.models.sampling import GREEDY, Sampling


_ROUND = 32
"""Prompts are filled up to a multiple of this, so that few lengths are compiled."""


def generate(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    sampling: Sampling = GREEDY,
    key: PRNGKeyArray | None = None,
    stop: Sequence[int] = (),
) -> list[list[int]]:
    """The tokens that follow each prompt.

    Row r draws its token i with fold_in(fold_in(key, r), i), so a prompt's continuation does not
    depend on the prompts behind it, nor on how many tokens are asked for.

    Args:
        model: the decoder.
        prompts: token numbers, at least one a prompt, of any lengths.
        new_tokens: most tokens that are drawn for a prompt.
        sampling: how a token is drawn; the likeliest by default.
        key: for sampling at a temperature above 0.
        stop: tokens that end a row; they are not returned.

    Raises:
        ConfigurationError: no or empty prompts, a token outside of the vocabulary, more tokens
            than the model was made for, or a temperature without a key.
    """
    params, config = model
    _check(config, prompts, new_tokens, stop)
    if key is None:
        if sampling.temperature > 0:
            raise ConfigurationError("a temperature above 0 needs a key, as jax.random.key(0)")
        key = jax.random.key(0)
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    room = -(-int(lengths.max()) // _ROUND) * _ROUND
    tokens = np.zeros((len(prompts), min(room, config.longest)), np.int32)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    logits, cache = prefill(params, config, tokens, lengths, tokens.shape[1] + new_tokens)
    drawn, counts = _draw(
        params, config, logits, cache, key, np.array(stop, np.int32), new_tokens, sampling
    )
    return [
        row[:count].tolist()
        for row, count in zip(np.asarray(drawn), np.asarray(counts), strict=True)
    ]


def _check(
    config: Config, prompts: Sequence[Sequence[int]], new_tokens: int, stop: Sequence[int]
) -> None:
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ConfigurationError(
            "there is no prompt, or one is empty; begin with the model's first token (BOS)"
        )
    if new_tokens < 1:
        raise ConfigurationError(f"new_tokens = {new_tokens}; it must be at least 1")
    for token in (*(token for prompt in prompts for token in prompt), *stop):
        if not 0 <= token < config.vocabulary:
            raise ConfigurationError(
                f"token {token} is not in the vocabulary of 0 to {config.vocabulary - 1}; "
                "use the model's own tokenizer"
            )
    # The logits behind the last token that is drawn are not used.
    config.check_length(max(len(prompt) for prompt in prompts) + new_tokens - 1)


@partial(jax.jit, static_argnames=("config", "new_tokens", "sampling"))
def _draw(
    params: Params,
    config: Config,
    logits: Array,
    cache: Cache,
    key: PRNGKeyArray,
    stop: Array,
    new_tokens: int,
    sampling: Sampling,
) -> tuple[Array, Array]:
    """The drawn tokens [B, new_tokens], and how many of each row count."""
    B = logits.shape[0]
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(B))
    drawn = jnp.zeros((B, new_tokens), jnp.int32)

    def going(state: tuple[Array, Array, Cache, Array, Array]) -> Array:
        i, _, _, _, counts = state
        return (i < new_tokens) & jnp.any(counts == i)

    def turn(
        state: tuple[Array, Array, Cache, Array, Array],
    ) -> tuple[Array, Array, Cache, Array, Array]:
        i, logits, cache, drawn, counts = state
        token = jax.vmap(sampling)(logits, jax.vmap(jax.random.fold_in, (0, None))(keys, i))
        ended = jnp.any(token[:, None] == stop[None, :], axis=1)
        counts = counts + ((counts == i) & ~ended).astype(jnp.int32)
        drawn = drawn.at[:, i].set(token)
        # A row that has ended goes on with the others, and is cut at its count.
        logits, cache = decode_step(params, config, token, cache)
        return i + 1, logits, cache, drawn, counts

    start = (jnp.int32(0), logits, cache, drawn, jnp.zeros(B, jnp.int32))
    _, _, _, drawn, counts = jax.lax.while_loop(going, turn, start)
    return drawn, counts
