"""What several models say to the same prompts, side by side."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dopt.errors import ConfigurationError
from dopt.models.generate import generate
from dopt.models.parameters import Model


class SideBySide(NamedTuple):
    """One prompt, gone on from greedily.

    Attributes:
        prompt: its tokens.
        continuations: of each model, by its name, the first one's first.
        parted: of each model, how many tokens it has in common with the first before they part;
            None where they never do.
    """

    prompt: list[int]
    continuations: dict[str, list[int]]
    parted: dict[str, int | None]


def side_by_side(
    models: Mapping[str, Model],
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    stop: Sequence[int] = (),
) -> list[SideBySide]:
    """The likeliest tokens of every model behind every prompt.

    Args:
        models: by name, the reference first; they share a tokenizer.
        prompts: token numbers, at least one a prompt.
        new_tokens: most tokens of a continuation.
        stop: tokens that end one; they are not returned.

    Raises:
        ConfigurationError: no model; see also `generate`.
    """
    if not models:
        raise ConfigurationError("there is no model to go on from the prompts; give at least one")
    drawn = {
        name: generate(model, prompts, new_tokens=new_tokens, stop=stop)
        for name, model in models.items()
    }
    rows = []
    for i, prompt in enumerate(prompts):
        said = {name: continuations[i] for name, continuations in drawn.items()}
        first = next(iter(said.values()))
        parted = {name: tokens_in_common(first, tokens) for name, tokens in said.items()}
        rows.append(SideBySide(list(prompt), said, parted))
    return rows


def tokens_in_common(a: Sequence[int], b: Sequence[int]) -> int | None:
    """How many tokens are the same before two continuations part; None where they never do."""
    if list(a) == list(b):
        return None
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))
