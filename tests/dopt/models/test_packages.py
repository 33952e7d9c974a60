import pytest

from dopt.errors import UnsupportedError
from dopt.models.packages import require


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("gguf", r"GGUF files need the package gguf; install dopt-jax\[llm\]"),
        ("safetensors", "safetensors files need the package safetensors"),
        ("tokenizers", "this model's tokenizer needs the package tokenizers"),
    ],
)
def test_an_absent_package_is_named(monkeypatch, package, words):
    require(package)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=words):
        require(package)
