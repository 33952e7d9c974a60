"""Models in folders of Hugging Face: `config.json` and safetensors, in one file or in shards.

Arrays are read one at a time, so that nothing but the parameters and the largest array once more is
resident. Names, shapes and dtypes of all arrays are checked against the configuration before the
first is read. Writing needs the package `safetensors` (extra `llm`).
"""

import json
from pathlib import Path as FilePath
from typing import Any

import jax.numpy as jnp
import numpy as np

from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models.config import Config
from dopt.models.config_json import read_config, to_hugging_face
from dopt.models.memory import check_dtype, check_memory
from dopt.models.parameters import Model, Path, build, leaf, parameter_shapes
from dopt.models.sharded import SHARD_BYTES, stored_in, write_shards
from dopt.models.stored import FLOATS, Stored, some_of


_HEAD = "lm_head.weight"
_UNUSED = ".rotary_emb.inv_freq"
"""Old Llama files carry the frequencies, which the configuration tells."""

_OUTSIDE = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": _HEAD,
}
_INSIDE = {
    "attention_norm": "input_layernorm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    **{name: f"self_attn.{name}_proj.weight" for name in "qkvo"},
    **{f"{name}_bias": f"self_attn.{name}_proj.bias" for name in "qkv"},
    **{f"{name}_norm": f"self_attn.{name}_norm.weight" for name in "qk"},
    **{name: f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")},
}


def tensor_name(path: Path) -> str:
    """Hugging Face's name of the array at a place in the parameters."""
    if len(path) == 1:
        return _OUTSIDE[str(path[0])]
    return f"model.layers.{path[1]}.{_INSIDE[str(path[2])]}"


def load_hugging_face(folder: str | FilePath, dtype: Any = None) -> Model:
    """A Llama, Mistral, Qwen2 or Qwen3 model from a folder.

    Args:
        folder: with `config.json` and `model.safetensors`, or its shards and their index.
        dtype: of the parameters; by default as they are stored.

    Raises:
        DataError: a file is absent, cut or not what it should be; a tensor is absent, unknown, of
            another shape, or holds NaN or infinity.
        UnsupportedError: tensors that are not of floating point.
        ConfigurationError: a configuration that the decoder does not have, arrays of several
            dtypes where none is asked for, or a model that does not fit into memory.
    """
    folder = FilePath(folder)
    asked = None if dtype is None else check_dtype(dtype)
    config = read_config(folder / "config.json")
    found = stored_in(folder)
    _check(folder, config, found)
    stored = {found[name].dtype for name in _expected(config)}
    if asked is None and len(stored) > 1:
        raise ConfigurationError(
            f"{folder} holds parameters as {', '.join(sorted(stored))}; ask for one dtype"
        )
    kept = asked if asked is not None else check_dtype(FLOATS[stored.pop()])
    check_memory(config, kept, source=str(folder))

    def read(place: Path, shape: tuple[int, ...]) -> Any:
        name = tensor_name(place)
        array = found[name].read()
        if not np.isfinite(array).all():
            raise DataError(f"{folder}: {name} holds NaN or infinity; fetch the model again")
        return jnp.asarray(array, kept)

    params = build(config, read)
    if config.tied and _HEAD in found:
        head = found[_HEAD].read()
        if not np.array_equal(head.astype(kept), np.asarray(params["embedding"])):
            raise DataError(
                f"{folder}: config.json ties the head to the embedding, but {_HEAD} is another "
                "matrix; set tie_word_embeddings to false if the head is separate"
            )
    return Model(params, config)


def save_hugging_face(
    folder: str | FilePath, model: Model, *, shard_bytes: int = SHARD_BYTES
) -> None:
    """Writes `config.json` and the parameters, in shards if they are more than `shard_bytes`.

    One shard is copied to the host at a time.

    Raises:
        ConfigurationError: the folder holds a model already, parameters that do not fit the
            configuration, or a configuration that no known architecture has.
        UnsupportedError: an absent package.
    """
    folder = FilePath(folder)
    params, config = model
    values = to_hugging_face(config)
    shapes = parameter_shapes(config)
    for path, shape in shapes.items():
        if leaf(params, path).shape != shape:
            raise ConfigurationError(
                f"{tensor_name(path)} has shape {leaf(params, path).shape}; "
                f"the configuration says {shape}"
            )
    write_shards(
        folder,
        ({tensor_name(path): np.asarray(leaf(params, path))} for path in shapes),
        shard_bytes,
    )
    values["torch_dtype"] = params["embedding"].dtype.name
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n")


def _expected(config: Config) -> dict[str, tuple[int, ...]]:
    return {tensor_name(path): shape for path, shape in parameter_shapes(config).items()}


def _check(folder: FilePath, config: Config, found: dict[str, Stored]) -> None:
    """Names, shapes and dtypes of all tensors, from the headers."""
    expected = _expected(config)
    if absent := expected.keys() - found.keys():
        raise DataError(f"{folder} lacks {some_of(absent)}, which config.json asks for")
    allowed = {_HEAD} if config.tied else set()
    extra = {name for name in found.keys() - expected.keys() if not name.endswith(_UNUSED)}
    if extra := extra - allowed:
        raise DataError(f"{folder} holds {some_of(extra)}, which config.json does not ask for")
    for name, shape in expected.items():
        stored = found[name]
        if stored.shape != shape:
            raise DataError(f"{folder}: {name} has shape {stored.shape}; config.json says {shape}")
        if stored.dtype not in FLOATS:
            raise UnsupportedError(
                f"{folder}: {name} is stored as {stored.dtype}; read are {', '.join(FLOATS)}, and "
                "no quantized weights"
            )
