"""The packages of the extra `llm`, which read and write other tools' files."""

import importlib.util

from dopt.errors import UnsupportedError


_USERS = {
    "gguf": "GGUF files need",
    "safetensors": "safetensors files need",
    "tokenizers": "this model's tokenizer needs",
}


def require(package: str) -> None:
    """Checks that a package is there, before it is imported.

    Args:
        package: gguf, safetensors or tokenizers.

    Raises:
        UnsupportedError: it is absent.
    """
    if importlib.util.find_spec(package) is None:
        raise UnsupportedError(f"{_USERS[package]} the package {package}; install dopt-jax[llm]")
