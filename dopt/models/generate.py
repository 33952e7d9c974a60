"""Text that goes on from prompts, a batch at a time.

A token is one call of `decode_step`, whose layers share one compiled program: the first token comes
seconds after the call, where one program for the whole loop would compile every layer apart.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dopt.errors import ConfigurationError
from dopt.models.config import Config
from dopt.models.decoder import decode_step, prefill
from dopt.models.parameters import Model
from dopt.models.sampling import GREEDY, Sampling


_PROMPT_ROUND = 32
_ROOM_ROUND = 128
"""Prompts and caches are filled up to a multiple of these, so that few lengths are compiled."""

_ASK = 8
"""Tokens after which it is asked whether all rows have ended; until then the device is not waited
for."""


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
    drawn: list[list[int]] = [[] for _ in prompts]
    for new in stream(
        model,
        prompts,
        new_tokens=new_tokens,
        sampling=sampling,
        key=key,
        stop=stop,
        every=_ASK,
    ):
        for row, tokens in zip(drawn, new, strict=True):
            row += tokens
    return drawn


def stream(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    sampling: Sampling = GREEDY,
    key: PRNGKeyArray | None = None,
    stop: Sequence[int] = (),
    every: int = 1,
) -> Iterator[list[list[int]]]:
    """The tokens of `generate` while they are drawn.

    Args:
        model: see `generate`.
        prompts: see `generate`.
        new_tokens: see `generate`.
        sampling: see `generate`.
        key: see `generate`.
        stop: see `generate`.
        every: tokens of a row that come at once.

    Yields:
        The new tokens of each row, none in a row that has ended; the last where all have.

    Raises:
        ConfigurationError: see `generate`.
    """
    _check(model.config, prompts, new_tokens, stop)
    if key is None:
        if sampling.temperature > 0:
            raise ConfigurationError("a temperature above 0 needs a key, as jax.random.key(0)")
        key = jax.random.key(0)
    return _pieces(_drawn(model, prompts, new_tokens, sampling, key), set(stop), every)


def _pieces(
    drawn: Iterator[Int[Array, " B"]], stop: set[int], every: int
) -> Iterator[list[list[int]]]:
    """Fetched `every` at a time, each row cut where it ends."""
    ended: set[int] = set()
    while waiting := [token for _, token in zip(range(every), drawn, strict=False)]:
        rows = np.stack(jax.device_get(waiting), axis=1).tolist()
        new: list[list[int]] = []
        for r, row in enumerate(rows):
            end = next((i for i, token in enumerate(row) if token in stop), len(row))
            new.append([] if r in ended else row[:end])
            if end < len(row):
                ended.add(r)
        yield new
        if len(ended) == len(rows):
            return


def _drawn(
    model: Model,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    sampling: Sampling,
    key: PRNGKeyArray,
) -> Iterator[Int[Array, " B"]]:
    """The next token of every row, again and again; a row that has ended goes on."""
    params, config = model
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    room = min(_up(int(lengths.max()), _PROMPT_ROUND), config.longest)
    tokens = np.zeros((len(prompts), room), np.int32)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    logits, cache = prefill(params, config, tokens, lengths, _up(room + new_tokens, _ROOM_ROUND))
    for i in range(new_tokens):
        token = _draw(logits, key, jnp.uint32(i), sampling)
        yield token
        if i + 1 < new_tokens:
            logits, cache = decode_step(params, config, token, cache)


def _up(count: int, to: int) -> int:
    return -(-count // to) * to


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


@partial(jax.jit, static_argnames="sampling")
def _draw(
    logits: Float[Array, "B vocabulary"], key: PRNGKeyArray, i: Array, sampling: Sampling
) -> Int[Array, " B"]:
    rows = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(logits.shape[0]))
    return jax.vmap(sampling)(logits, jax.vmap(jax.random.fold_in, (0, None))(rows, i))
