"""The tokens that a command measures or calibrates on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from dopt.calibration import calibration_windows, random_tokens
from dopt.errors import ConfigurationError
from dopt.evaluation import Windows, cut, joined, read_text, rows
from dopt.models.load import Loaded
from experiments.language.options_compress import Compression


def tokens_of(loaded: Loaded, texts: Sequence[Path]) -> list[list[int]]:
    """The tokens of each text, without BOS.

    Raises:
        ConfigurationError: a model without a tokenizer.
        DataError: a text that cannot be read.
    """
    if loaded.tokenizer is None:
        raise ConfigurationError(
            f"{loaded.name} has no tokenizer beside it; put its tokenizer.json or tokenizer.bin "
            "there"
        )
    return [loaded.tokenizer.encode(read_text(path)) for path in texts]


def windows_of_texts(
    loaded: Loaded, texts: Sequence[Path], window: int, most: int | None
) -> Windows:
    """Disjoint windows of the texts, one text after the other.

    Raises:
        ConfigurationError: no text, one of which nothing can be scored, or no tokenizer.
        DataError: a text that cannot be read.
    """
    if not texts:
        raise ConfigurationError("there is no text; give at least one file")
    return joined([cut(tokens, window) for tokens in tokens_of(loaded, texts)]).most(most)


def calibration(options: Compression, loaded: Loaded) -> Int32[np.ndarray, "N T"] | None:
    """Windows for Hessians, from random places of all texts together; None without texts.

    Raises:
        ConfigurationError: see `calibration_windows`, or no tokenizer.
        DataError: a text that cannot be read.
    """
    if not options.calibrate:
        return None
    tokens = np.concatenate([np.asarray(t) for t in tokens_of(loaded, options.calibrate)])
    return calibration_windows(
        tokens,
        options.calibration_windows,
        options.calibration_length,
        seed=options.seed,
        longest=loaded.model.config.longest,
    )


def alpha_windows(options: Compression, loaded: Loaded) -> Windows:
    """Windows on which α is measured.

    Raises:
        ConfigurationError: texts without --alpha text, or that without texts; see
            `windows_of_texts`.
        DataError: a text that cannot be read.
    """
    count, length = options.alpha_windows, options.alpha_length
    if (options.alpha == "text") != bool(options.alpha_text):
        raise ConfigurationError("--alpha text and --alpha-text FILE belong together")
    if options.alpha == "text":
        return windows_of_texts(loaded, options.alpha_text, length, count)
    vocabulary = loaded.model.config.vocabulary
    return rows(random_tokens(vocabulary, count, length, seed=options.seed))
