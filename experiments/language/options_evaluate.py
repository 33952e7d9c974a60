"""What `dopt evaluate` can be told. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Evaluate:
    """Measure a language model on texts: perplexity, and how far it is from another model.

    A text (UTF-8, CRLF as LF) is cut into windows, each text by itself. A token is scored in the
    first window that holds it behind another token, and in no other. Errors behind ± are standard
    errors over windows, of a difference between two models over pairs of windows.

    --against MODEL compares with a model of the same tokenizer, such as the original of a
    compressed one: KL divergence from it a token, how often the likeliest token is the same, and
    both perplexities. --prompt shows what the models say, and after how many tokens they part.
    """

    model: tyro.conf.Positional[str]
    """A known model's name, a GGUF file, a checkpoint of llama2.c, or a folder, compressed or not.
    """
    text: tuple[Path, ...]
    """Text files."""
    against: str | None = None
    """The model to compare with."""
    window: int | None = None
    """Tokens of a window; by default 512, or what the models were made for where that is less."""
    stride: int | None = None
    """Tokens from one window to the next, by default as many as a window holds; fewer give every
    token more context and take longer."""
    bos: bool = False
    """Begin every window with the tokenizer's first token (BOS)."""
    windows: int | None = None
    """Only the first so many windows."""
    prompt: tuple[str, ...] = ()
    """Texts to go on from, by the likeliest tokens."""
    new_tokens: int = 48
    """The most that follow a prompt."""
    speed: bool = True
    """Measure tokens per second."""
    out: Path | None = None
    """A parquet file for the numbers of every window."""
    quiet: bool = False
    """No progress, only the results."""
