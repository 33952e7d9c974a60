"""A model with its tokenizer, from whatever it lies in."""

import gc
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from dopt.errors import ConfigurationError, DataError
from dopt.models.gguf import model_of, stored_schemes
from dopt.models.gguf_file import MAGIC, open_gguf
from dopt.models.gguf_tokenizer import TOKENIZER_KIND, tokenizer_of
from dopt.models.known import KNOWN, get
from dopt.models.llama2c import load_llama2c
from dopt.models.llama2c_tokenizer import load_llama2c_tokenizer
from dopt.models.package_tokenizer import load_tokenizer_json
from dopt.models.parameters import Model
from dopt.models.safetensors import load_hugging_face
from dopt.models.tokenizer import Tokenizer


COMPRESSED = "dopt_compressed.json"
COMPRESSING = "dopt_compressed.part.json"
"""What a folder holds into which a compressed model was written, and one where that did not end."""

_TOKENIZERS = ("tokenizer.bin", "tok{vocabulary}.bin")
"""llama2.c's names of tokenizers."""

_UNQUANTIZED = {"F32", "F16", "BF16"}


class Loaded(NamedTuple):
    """A model, ready to be used."""

    model: Model
    tokenizer: Tokenizer | None
    """None where no file of it lies beside the model."""
    name: str
    note: str | None
    """What has to be said wherever results of it are shown."""


def load(where: str | Path, dtype: Any = None) -> Loaded:
    """A model and its tokenizer.

    Args:
        where: the name of a known model, which is fetched where it is not there yet; a GGUF file,
            whose own tokenizer gives way to a `tokenizer.json` beside it; a checkpoint of llama2.c,
            with `tokenizer.bin` or `tok512.bin` (its vocabulary) beside it; a folder of Hugging
            Face, with `tokenizer.json`, whose weights may be quantized (compressed-tensors, GPTQ);
            a folder that this library compressed; or a folder that holds one such file.
        dtype: of the parameters; by default float32 for GGUF, and as stored for the others.

    Raises:
        DataError: there is nothing, several models, or a damaged file.
        UnsupportedError: something that is not known, or an absent package.
        ConfigurationError: a configuration that the decoder does not have, or a model that does not
            fit into memory.
    """
    name = str(where)
    if name in KNOWN and not Path(name).exists():
        return _of_gguf(get(name), dtype, name)
    path = Path(where)
    if not path.exists():
        raise DataError(
            f"{path} is not there; give a model's file or folder, or one of {', '.join(KNOWN)}"
        )
    if path.is_file():
        return _of_file(path, dtype)
    name = path.resolve().name
    if (path / COMPRESSED).exists() or (path / COMPRESSING).exists():
        return _of_compressed(path, dtype)
    if (path / "config.json").exists():
        tokens = path / "tokenizer.json"
        tokenizer = load_tokenizer_json(tokens) if tokens.exists() else None
        return Loaded(_of_hugging_face(path, dtype), tokenizer, name, None)
    return _of_file(_only_model(path), dtype)


def load_tokenizer(where: str | Path) -> Tokenizer:
    """A tokenizer alone.

    Args:
        where: a `tokenizer.json` or the folder that holds it, a GGUF file, or a tokenizer of
            llama2.c.

    Raises:
        DataError: the file is not there, or is none.
        UnsupportedError: a kind that is not known, or an absent package.
    """
    path = Path(where)
    path = path / "tokenizer.json" if path.is_dir() else path
    if path.suffix == ".json" or not path.exists():
        return load_tokenizer_json(path)
    if _begins_as_gguf(path):
        return tokenizer_of(open_gguf(path), path)
    return load_llama2c_tokenizer(path)


def _of_file(path: Path, dtype: Any) -> Loaded:
    if path.suffix == ".gguf" or _begins_as_gguf(path):
        return _of_gguf(path, dtype, path.stem)
    if path.suffix in (".safetensors", ".json"):
        raise DataError(f"{path} is a part of a model; give its folder, {path.parent}")
    model = load_llama2c(path, jnp.float32 if dtype is None else dtype)
    names = [name.format(vocabulary=model.config.vocabulary) for name in _TOKENIZERS]
    beside = [path.with_name(name) for name in names if path.with_name(name).exists()]
    tokenizer = load_llama2c_tokenizer(beside[0]) if beside else None
    if tokenizer is not None and tokenizer.vocabulary != model.config.vocabulary:
        raise DataError(
            f"{beside[0]} has {tokenizer.vocabulary} tokens, but {path} has "
            f"{model.config.vocabulary}; put the model's own tokenizer there"
        )
    return Loaded(model, tokenizer, path.stem, None)


def _of_gguf(path: Path, dtype: Any, name: str) -> Loaded:
    reader = open_gguf(path)
    beside = path.with_name("tokenizer.json")
    tokenizer: Tokenizer | None = None
    if beside.exists():
        tokenizer = load_tokenizer_json(beside)
    elif reader.get_field(TOKENIZER_KIND) is not None:
        tokenizer = tokenizer_of(reader, path)
    model = model_of(reader, path, jnp.float32 if dtype is None else dtype)
    note = _note(name, stored_schemes(reader))
    # The reader refers to itself, and would keep the file mapped and its settings in memory.
    del reader
    gc.collect()
    return Loaded(model, tokenizer, name, note)


def _note(name: str, schemes: set[str]) -> str | None:
    quantized = sorted(schemes - _UNQUANTIZED)
    if not quantized:
        return None
    return (
        f"{name} is quantized already ({', '.join(quantized)}): its dequantized weights are the "
        "reference, and comparisons with min/max grids of as many bits are biased, as these can "
        "give such weights back without error"
    )


def _of_hugging_face(path: Path, dtype: Any) -> Model:
    from dopt.compression.exports import is_quantized, read_quantized

    return read_quantized(path, dtype) if is_quantized(path) else load_hugging_face(path, dtype)


def _of_compressed(path: Path, dtype: Any) -> Loaded:
    from dopt.compression.folder import load_compressed

    if dtype is not None:
        raise ConfigurationError(f"{path} is compressed; a dtype cannot be asked for")
    return load_compressed(path)


def _only_model(folder: Path) -> Path:
    """The one model's file in a folder."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    found = [path for path in files if path.suffix == ".gguf"] or [
        path for path in files if path.suffix == ".bin" and not path.name.startswith("tok")
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{folder} holds {len(found)} models: {', '.join(path.name for path in found[:5])}; "
            "name one of the files"
        )
    raise DataError(
        f"{folder} holds no model: neither config.json with safetensors, nor a .gguf file, nor a "
        "checkpoint of llama2.c (.bin)"
    )


def _begins_as_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
