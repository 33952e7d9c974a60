"""Folders of Hugging Face whose matrices lie in files by a scheme: written, and read back.

Files are written under other names and renamed when all are whole; `config.json` comes last. Needs
the package `safetensors` (extra `llm`) to write.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np

from compressors.weights import PackedWeight
from dopt.compression.exports.integers import HELD
from dopt.compression.exports.scheme import FLOATS, Scheme, Tensor
from dopt.compression.exports.tokenizer_files import tokenizer_files
from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models.config import Config
from dopt.models.config_json import to_hugging_face
from dopt.models.memory import check_dtype, check_free
from dopt.models.parameters import Model, Path, build, leaf, linear_paths, parameter_shapes
from dopt.models.safetensors import tensor_name
from dopt.models.sharded import stored_in, write_shards
from dopt.models.stored import Stored, some_of
from dopt.models.tokenizer import Tokenizer


S = TypeVar("S", bound=Scheme)

_HEAD = "lm_head.weight"
_UNUSED = ".rotary_emb.inv_freq"


def module_name(path: Path) -> str:
    """Hugging Face's name of the layer whose weight lies at a place in the parameters."""
    return tensor_name(path).removesuffix(".weight")


def schemes_of(model: Model, scheme_of: Callable[[PackedWeight], S]) -> dict[Path, S]:
    """The schemes of the matrices that are quantized, from `scheme_of` of each.

    A row that is as long as the groups of other matrices is called a group, so that all are alike.

    Raises:
        UnsupportedError: there is none for a matrix, which the message names.
        ConfigurationError: no matrix is quantized.
    """
    schemes, linear = {}, linear_paths(model.config)
    for path in parameter_shapes(model.config):
        weight = leaf(model.params, path)
        if not isinstance(weight, PackedWeight):
            continue
        if path not in linear:
            raise UnsupportedError(f"{module_name(path)} is packed, which only dopt reads; {HELD}")
        try:
            schemes[path] = scheme_of(weight)
        except UnsupportedError as error:
            raise UnsupportedError(f"{module_name(path)}: {error}") from error
    if not schemes:
        raise ConfigurationError("no matrix of the model is quantized; save it as it is")
    sizes = {scheme.group for scheme in schemes.values()}
    for path, scheme in schemes.items():
        inputs = leaf(model.params, path).inputs
        if scheme.group is None and inputs in sizes:
            schemes[path] = replace(scheme, group=inputs)
    return schemes


def write_folder(
    folder: FilePath,
    model: Model,
    schemes: Mapping[Path, Scheme],
    quantization: Mapping[str, Any],
    tokenizer: Tokenizer | None,
    *,
    dtype: str,
) -> None:
    """Writes a model, one shard of it in memory at a time.

    Args:
        folder: to be made, or without a model.
        model: with `PackedWeight` at the places that have a scheme, and arrays elsewhere.
        schemes: of the matrices that are quantized.
        quantization: the "quantization_config" of `config.json`.
        tokenizer: to be written beside it, if there is one.
        dtype: that a reader computes in unless it is told another.

    Raises:
        ConfigurationError: the folder holds a model already, or a configuration that no known
            architecture has.
        UnsupportedError: an absent package, or a tokenizer that other tools do not read.
    """
    files, ends = ({}, {}) if tokenizer is None else tokenizer_files(tokenizer)
    settings = to_hugging_face(model.config) | ends
    settings["torch_dtype"] = dtype
    settings["quantization_config"] = dict(quantization)
    write_shards(folder, _tensors(model, schemes))
    files["config.json"] = json.dumps(settings, indent=2) + "\n"
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def read_folder(
    folder: FilePath, config: Config, schemes: Mapping[Path, Scheme], dtype: Any = None
) -> Model:
    """Reads a model, whose names, shapes and dtypes are all checked before the first tensor.

    Args:
        folder: with safetensors files.
        config: of the model.
        schemes: of the matrices that are quantized.
        dtype: of what is not quantized; by default as stored.

    Raises:
        DataError: a tensor is absent, unknown, of another shape, or holds NaN or infinity.
        UnsupportedError: a tensor of a dtype that its scheme does not have.
        ConfigurationError: a dtype that is none of parameters, or a model that does not fit into
            memory.
    """
    found = stored_in(folder)
    expected = _expected(config, schemes)
    _check(folder, found, expected)
    kept = None if dtype is None else check_dtype(dtype)
    # Beside the files' bytes, the bits of one matrix, each in a byte.
    widest = 8 * max(math.prod(shape) for shape in parameter_shapes(config).values())
    check_free(sum(found[name].size for name in expected) + widest, str(folder))

    def values(name: str) -> np.ndarray:
        array = found[name].read()
        if found[name].dtype in FLOATS and not np.isfinite(array).all():
            raise DataError(f"{folder}: {name} holds NaN or infinity; fetch the model again")
        return array

    def read(path: Path, shape: tuple[int, ...]) -> Any:
        if path not in schemes:
            return jnp.asarray(values(tensor_name(path)), kept)
        out, inputs = shape
        ends = schemes[path].tensors(out, inputs)
        try:
            arrays = {end: values(f"{module_name(path)}.{end}") for end in ends}
            return schemes[path].read(arrays, out, inputs)
        except DataError as error:
            raise DataError(f"{folder}: {module_name(path)}: {error}") from error

    return Model(build(config, read), config)


def _tensors(model: Model, schemes: Mapping[Path, Scheme]) -> Iterator[dict[str, np.ndarray]]:
    """What is written, a parameter at a time."""
    for path in parameter_shapes(model.config):
        value = leaf(model.params, path)
        if isinstance(value, PackedWeight):
            arrays = schemes[path].write(value)
            yield {f"{module_name(path)}.{end}": array for end, array in arrays.items()}
        else:
            yield {tensor_name(path): np.asarray(value)}


def _expected(config: Config, schemes: Mapping[Path, Scheme]) -> dict[str, Tensor]:
    expected: dict[str, Tensor] = {}
    for path, shape in parameter_shapes(config).items():
        if path in schemes:
            tensors = schemes[path].tensors(shape[0], shape[1])
            expected |= {f"{module_name(path)}.{end}": t for end, t in tensors.items()}
        else:
            expected[tensor_name(path)] = Tensor(shape, FLOATS)
    return expected


def _check(folder: FilePath, found: Mapping[str, Stored], expected: Mapping[str, Tensor]) -> None:
    if absent := expected.keys() - found.keys():
        raise DataError(f"{folder} lacks {some_of(absent)}, which config.json asks for")
    extra = [name for name in found if name not in expected and not _idle(name, found)]
    if extra:
        raise DataError(f"{folder} holds {some_of(extra)}, which config.json does not ask for")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise DataError(
                f"{folder}: {name} has shape {found[name].shape}; config.json says {tensor.shape}"
            )
        if found[name].dtype not in tensor.dtypes:
            raise UnsupportedError(
                f"{folder}: {name} is stored as {found[name].dtype}; read are "
                f"{', '.join(tensor.dtypes)}"
            )


def _idle(name: str, found: Mapping[str, Stored]) -> bool:
    """Whether a tensor changes nothing: old rotations, biases of zeros, the head twice."""
    tensor = found[name]
    if name == _HEAD:
        other = found[tensor_name(("embedding",))]
        return tensor.dtype == other.dtype and np.array_equal(tensor.read(), other.read())
    zeros = name.endswith(".bias") and tensor.dtype in FLOATS and not tensor.read().any()
    return name.endswith(_UNUSED) or zeros
