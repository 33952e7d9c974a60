"""A tokenizer in the files that transformers and vLLM read."""

import json
from typing import Any

from dopt.errors import UnsupportedError
from dopt.models.package_tokenizer import PackageTokenizer
from dopt.models.tokenizer import Tokenizer


def tokenizer_files(tokenizer: Tokenizer) -> tuple[dict[str, str], dict[str, Any]]:
    """The text of each file by its name, and the settings of `config.json` for BOS and EOS.

    Raises:
        UnsupportedError: a tokenizer that is not of the package `tokenizers`.
    """
    if not isinstance(tokenizer, PackageTokenizer):
        raise UnsupportedError(
            f"other tools read tokenizer.json, which a {type(tokenizer).__name__} cannot be; "
            "write the model without a tokenizer"
        )
    eos = list(tokenizer.eos)
    ends = {"bos_token": tokenizer.bos, "eos_token": eos[0] if eos else None}
    names = {
        end: tokenizer.engine.id_to_token(token) for end, token in ends.items() if token is not None
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    files = {
        "tokenizer.json": tokenizer.engine.to_str(pretty=False),
        "tokenizer_config.json": json.dumps(config | names, indent=2) + "\n",
    }
    return files, {"bos_token_id": tokenizer.bos, "eos_token_id": eos[0] if len(eos) == 1 else eos}
