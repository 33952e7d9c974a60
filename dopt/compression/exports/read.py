"""Folders whose `config.json` says that the weights are quantized, read into packed weights."""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from dopt.compression.exports import compressed_tensors, gptq_files
from dopt.compression.exports.folder import read_folder
from dopt.compression.exports.scheme import Scheme
from dopt.errors import DataError, UnsupportedError
from dopt.models.config import Config
from dopt.models.config_json import from_hugging_face, read_settings
from dopt.models.parameters import Model, Path


def is_quantized(folder: str | FilePath) -> bool:
    """Whether the `config.json` of a folder has a "quantization_config"."""
    return read_settings(FilePath(folder) / "config.json").get("quantization_config") is not None


def read_quantized(folder: str | FilePath, dtype: Any = None) -> Model:
    """A model from compressed-tensors files (integers or FP8) or GPTQ files.

    Codes and scales are what the files hold; nothing is rounded again.

    Args:
        folder: with `config.json` and safetensors.
        dtype: of what is not quantized, and so of activations; by default as stored.

    Raises:
        DataError: a file is absent, cut or not what it should be.
        UnsupportedError: a scheme or a setting that is not read, such as quantized activations.
        ConfigurationError: a configuration that the decoder does not have, a dtype that is none of
            parameters, or a model that does not fit into memory.
    """
    folder = FilePath(folder)
    settings = read_settings(folder / "config.json")
    quantization = settings.pop("quantization_config", None)
    config = from_hugging_face(settings)
    try:
        schemes = _schemes_in(quantization, config)
    except UnsupportedError as error:
        raise UnsupportedError(f"{folder}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError, re.error) as error:
        raise DataError(f"{folder}: no known quantization_config ({error!r})") from error
    return read_folder(folder, config, schemes, dtype)


def _schemes_in(quantization: Any, config: Config) -> Mapping[Path, Scheme]:
    method = quantization["quant_method"]
    if method == compressed_tensors.METHOD:
        return compressed_tensors.schemes_in(quantization, config)
    if method == gptq_files.METHOD:
        return gptq_files.schemes_in(quantization, config)
    raise UnsupportedError(
        f"quantized by {method!r}; read are {compressed_tensors.METHOD} and {gptq_files.METHOD}"
    )
