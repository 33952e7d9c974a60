"""A tokenizer as a file, whatever it was read from.

One of the package `tokenizers` is its `tokenizer.json`, which other tools read, and what that file
does not tell stands in the description; one of scores is a JSON of our own.
"""

import json
from typing import Any

from dopt.errors import SchemaError, UnsupportedError
from dopt.models.package_tokenizer import PackageTokenizer
from dopt.models.packages import require
from dopt.models.scored_tokenizer import ScoredTokenizer
from dopt.models.tokenizer import Tokenizer


_PACKAGE, _SCORED = "tokenizer.json", "tokenizer_scored.json"


def written(tokenizer: Tokenizer) -> tuple[dict[str, Any], bytes]:
    """A description, whose "file" names the file, and the bytes of the file.

    Raises:
        UnsupportedError: a tokenizer of a kind of the user's own.
    """
    if isinstance(tokenizer, PackageTokenizer):
        beside = {"unspelled": list(tokenizer.unspelled)}
        content = tokenizer.engine.to_str(pretty=False).encode()
        return _ends(tokenizer) | {"file": _PACKAGE} | beside, content
    if isinstance(tokenizer, ScoredTokenizer):
        parts = {
            "pieces": [piece.decode("latin-1") for piece in tokenizer.pieces],
            "scores": tokenizer.scores,
            "single": tokenizer.single,
            "silent": sorted(tokenizer.silent),
            "space_prefix": tokenizer.space_prefix,
        }
        return _ends(tokenizer) | {"file": _SCORED}, json.dumps(parts).encode()
    raise UnsupportedError(
        f"a tokenizer of type {type(tokenizer).__name__} has no form as a file; write the model "
        "without it"
    )


def read(description: dict[str, Any], content: bytes) -> Tokenizer:
    """The tokenizer that `written` was given.

    Raises:
        SchemaError: a file of another version.
        UnsupportedError: an absent package.
    """
    ends: dict[str, Any] = {"bos": description["bos"], "eos": tuple(description["eos"])}
    if description["file"] == _PACKAGE:
        require("tokenizers")
        from tokenizers import Tokenizer as Engine

        unspelled = bytes(description["unspelled"])
        return PackageTokenizer(Engine.from_buffer(content), **ends, unspelled=unspelled)
    if description["file"] == _SCORED:
        parts = json.loads(content)
        pieces = [piece.encode("latin-1") for piece in parts.pop("pieces")]
        return ScoredTokenizer(pieces, **parts, **ends)
    raise SchemaError(
        f"the tokenizer's file is {description['file']}; known are {_PACKAGE} and {_SCORED}: "
        "update dopt"
    )


def _ends(tokenizer: Tokenizer) -> dict[str, Any]:
    return {"bos": tokenizer.bos, "eos": list(tokenizer.eos)}
