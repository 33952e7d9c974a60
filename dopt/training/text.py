"""A text for training: its tokenizer, its tokens, and the part that is held out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from dopt.errors import ConfigurationError
from dopt.models.package_tokenizer import PackageTokenizer
from dopt.models.packages import require


SEPARATOR = "<|endoftext|>"
"""What stands between two documents of a text; it becomes one token."""

_SEPARATOR_TOKEN = 0
"""The trainer numbers special tokens first."""


class Corpus(NamedTuple):
    """What a model is trained on and measured on."""

    tokenizer: PackageTokenizer
    training: Int32[np.ndarray, " n"]
    held_out: Int32[np.ndarray, " m"]


def corpus(texts: Sequence[str], vocabulary: int, held_out: float = 0.05) -> Corpus:
    """Tokens of texts, by a byte-level byte-pair encoding that is learnt from their training part.

    Args:
        texts: documents, or files of documents with `SEPARATOR` between them.
        vocabulary: tokens, at least the 256 bytes and the separator.
        held_out: the share of each text, at its end, that is not trained on.

    Raises:
        ConfigurationError: a vocabulary that is too small, a share outside of (0, 1), or no text.
        UnsupportedError: the package `tokenizers` is absent.
    """
    if vocabulary < 257:
        raise ConfigurationError(
            f"vocabulary = {vocabulary}; it must be at least 257: the bytes and the separator"
        )
    if not 0 < held_out < 1:
        raise ConfigurationError(f"the held-out share is {held_out}; it must be in (0, 1)")
    if not texts:
        raise ConfigurationError("there is no text to train on; give a text file")
    cuts = [_cut(text, held_out) for text in texts]
    front = [text[:at] for text, at in zip(texts, cuts, strict=True)]
    back = [text[at:] for text, at in zip(texts, cuts, strict=True)]
    tokenizer = _learnt(front, vocabulary)
    return Corpus(tokenizer, _tokens(tokenizer, front), _tokens(tokenizer, back))


def unigram_loss(
    training: Int32[np.ndarray, " n"], held_out: Int32[np.ndarray, " m"], vocabulary: int
) -> float:
    """Nats a token of the held-out part under the frequencies of the other, one added to each.

    What a model that knows no context reaches.
    """
    counts = np.bincount(training, minlength=vocabulary) + 1.0
    return float(-np.log(counts / counts.sum())[held_out].mean())


def _cut(text: str, held_out: float) -> int:
    """Where the held-out part begins: at a line end, if one is near."""
    at = math.ceil(len(text) * (1 - held_out))
    line = text.find("\n", at, at + 2000)
    return at if line < 0 else line + 1


def _learnt(texts: list[str], vocabulary: int) -> PackageTokenizer:
    require("tokenizers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    documents = (document for text in texts for document in text.split(SEPARATOR))
    engine.train_from_iterator(documents, trainer)
    return PackageTokenizer(engine, bos=None, eos=(_SEPARATOR_TOKEN,))


def _tokens(tokenizer: PackageTokenizer, texts: list[str]) -> Int32[np.ndarray, " n"]:
    """The tokens of all documents, with the separator between them."""
    out: list[int] = []
    for i, document in enumerate(d for text in texts for d in text.split(SEPARATOR)):
        out += [*tokenizer.eos] * (i > 0) + tokenizer.encode(document)
    return np.array(out, np.int32)
