"""Tokenizers of the package `tokenizers` (extra `llm`): those of `tokenizer.json` and of GGUF.

Line ends are characters like others: a text with CRLF has other tokens than the same with LF.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dopt.errors import ConfigurationError, DataError
from dopt.models.packages import require


class PackageTokenizer:
    """Text to token numbers and back, by a `tokenizers.Tokenizer`.

    Attributes:
        engine: the tokenizer of the package.
        bos: the token in front of a text, None where the model wants none.
        eos: the tokens at which a text ends.
        vocabulary: how many tokens there are.
        unspelled: the bytes that no token spells, which the package would leave out.
    """

    def __init__(
        self,
        engine: Any,
        *,
        bos: int | None,
        eos: tuple[int, ...],
        unspelled: bytes = b"",
    ) -> None:
        """A tokenizer.

        Args:
            engine: see above; from now on names of special tokens in a text are text for it.
            bos: see above.
            eos: see above.
            unspelled: see above.
        """
        engine.encode_special_tokens = True
        self.engine = engine
        self.bos = bos
        self.eos = eos
        self.vocabulary = 1 + max(engine.get_vocab(with_added_tokens=True).values(), default=-1)
        self.unspelled = unspelled

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without BOS; names such as <s> in it are text.

        Raises:
            ConfigurationError: the text holds a byte that no token of the model spells, or a half
                of a surrogate pair.
        """
        try:
            raw = text.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"the text is not Unicode: {error}") from error
        for byte in self.unspelled:
            if byte in raw:
                raise ConfigurationError(
                    f"the text holds the byte {byte:#04x}, which no token of the model spells; "
                    "take it out"
                )
        return list(self.engine.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special tokens have none, and bytes that are no UTF-8 become U+FFFD.

        Raises:
            ConfigurationError: a number that is no token.
        """
        for token in tokens:
            if not 0 <= token < self.vocabulary:
                raise ConfigurationError(
                    f"token {token} is not in the vocabulary of 0 to {self.vocabulary - 1}"
                )
        return str(self.engine.decode(list(tokens), skip_special_tokens=True))


def load_tokenizer_json(path: Path) -> PackageTokenizer:
    """The tokenizer in a `tokenizer.json`; BOS as it puts it, EOS as `config.json` beside it says.

    Raises:
        DataError: a file cannot be read, or is not what it should be.
        UnsupportedError: an absent package.
    """
    require("tokenizers")
    from tokenizers import Tokenizer

    content = _read(path)
    try:
        engine = Tokenizer.from_buffer(content)
    except Exception as error:
        raise DataError(f"{path} is no tokenizer: {error}; fetch it again") from error
    engine.no_padding()
    engine.no_truncation()
    put = engine.encode("a").ids
    bare = engine.encode("a", add_special_tokens=False).ids
    front = put[: len(put) - len(bare)] if put[len(put) - len(bare) :] == bare else []
    return PackageTokenizer(engine, bos=front[0] if front else None, eos=_ends(path.parent))


def _ends(folder: Path) -> tuple[int, ...]:
    """The tokens that end a text, from the files that say so."""
    ends: dict[int, None] = {}
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if not path.exists():
            continue
        try:
            found = json.loads(_read(path)).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise DataError(f"{path} is no JSON object; fetch it again") from error
        listed = found if isinstance(found, list) else [found]
        ends |= {token: None for token in listed if isinstance(token, int)}
    return tuple(ends)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
