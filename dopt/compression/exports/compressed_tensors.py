"""Models as compressed-tensors files, which vLLM, transformers and others read.

Weights alone are quantized: what goes into a layer keeps its dtype. Matrices of one scheme make a
group of the configuration, and those that are not quantized are ignored by name.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from compressors.weights import PackedWeight
from dopt.compression.exports.float_quantized import FloatQuantized, float_quantized
from dopt.compression.exports.folder import module_name, schemes_of, write_folder
from dopt.compression.exports.pack_quantized import WIDTHS, PackQuantized, pack_quantized
from dopt.compression.exports.settings import check_settings
from dopt.errors import UnsupportedError
from dopt.models.config import Config
from dopt.models.parameters import Model, Path, linear_paths
from dopt.models.tokenizer import Tokenizer


METHOD = "compressed-tensors"
PACKED, FLOAT, MIXED = "pack-quantized", "float-quantized", "mixed-precision"

CompressedTensors = PackQuantized | FloatQuantized

_KNOWN = {
    "config_groups",
    "format",
    "global_compression_ratio",
    "ignore",
    "quant_method",
    "version",
}
_FIXED: dict[str, tuple[Any, ...]] = {
    "kv_cache_scheme": (None,),
    "moe_sparsity_config": (None,),
    "quantization_status": ("compressed",),
    "sparsity_config": (None, {}),
    "transform_config": (None, {}),
}
_GROUP_KNOWN = {"format", "targets", "weights"}
_GROUP_FIXED: dict[str, tuple[Any, ...]] = {
    "input_activations": (None,),
    "output_activations": (None,),
}
_WEIGHT_KNOWN = {
    "actorder",
    "group_size",
    "num_bits",
    "observer",
    "observer_kwargs",
    "scale_dtype",
    "strategy",
    "symmetric",
    "type",
    "zp_dtype",
}
_WEIGHT_FIXED: dict[str, tuple[Any, ...]] = {"block_structure": (None,), "dynamic": (False,)}


def export_compressed_tensors(
    folder: str | FilePath, model: Model, tokenizer: Tokenizer | None = None
) -> None:
    """Writes a model whose matrices are integers of 2 to 8 bits, or FP8, or not quantized.

    Codes, zeros and scales are written as they are, so that a reader computes the same matrix up
    to the rounding of its own dtype, which is that of the scales. Readers that join matrices (vLLM:
    q, k and v; gate and up) want these in one scheme.

    Args:
        folder: to be made, or without a model.
        model: its matrices `PackedWeight`, or arrays where they are not quantized.
        tokenizer: to be written beside the model, if there is one.

    Raises:
        UnsupportedError: a matrix that the format does not hold, named with those that do; nothing
            is written.
        ConfigurationError: the folder holds a model already, no matrix is quantized, or no known
            architecture has the configuration.
    """
    schemes = schemes_of(model, _scheme_of)
    kinds: dict[CompressedTensors, list[str]] = {}
    for path, scheme in schemes.items():
        kinds.setdefault(scheme, []).append(module_name(path))
    plain = [path for path in linear_paths(model.config) if path not in schemes]
    formats = {_format(scheme) for scheme in kinds}
    quantization = {
        "quant_method": METHOD,
        "format": formats.pop() if len(formats) == 1 else MIXED,
        "quantization_status": "compressed",
        "config_groups": {
            f"group_{i}": _group(scheme, names if len(kinds) > 1 else ["Linear"])
            for i, (scheme, names) in enumerate(kinds.items())
        },
        "ignore": [module_name(path) for path in plain] + ["lm_head"],
        "kv_cache_scheme": None,
    }
    dtype = model.params["norm"].dtype.name
    write_folder(FilePath(folder), model, schemes, quantization, tokenizer, dtype=dtype)


def schemes_in(quantization: Mapping[str, Any], config: Config) -> dict[Path, CompressedTensors]:
    """The schemes of the matrices, from the "quantization_config" of a folder.

    Raises:
        UnsupportedError: a setting or a scheme that is not read.
        KeyError: a setting is absent.
    """
    check_settings(quantization, _KNOWN, _FIXED, "quantization_config")
    groups = [
        (group["targets"], _scheme_in(group, group.get("format") or quantization["format"]))
        for group in quantization["config_groups"].values()
    ]
    ignored = quantization.get("ignore") or []
    schemes: dict[Path, CompressedTensors] = {}
    for path in linear_paths(config):
        module = module_name(path)
        fitting = {scheme for targets, scheme in groups if _named(module, targets)}
        if len(fitting) > 1:
            raise UnsupportedError(f"{module} is a target of several groups of config_groups")
        if fitting and not _named(module, ignored):
            schemes[path] = fitting.pop()
    return schemes


def _scheme_of(weight: PackedWeight) -> CompressedTensors:
    return pack_quantized(weight) if weight.table is None else float_quantized(weight)


def _format(scheme: CompressedTensors) -> str:
    return PACKED if isinstance(scheme, PackQuantized) else FLOAT


def _group(scheme: CompressedTensors, targets: list[str]) -> dict[str, Any]:
    kind, bits, symmetric = "float", 8, True
    if isinstance(scheme, PackQuantized):
        kind, bits, symmetric = "int", scheme.bits, scheme.symmetric
    weights = {
        "num_bits": bits,
        "type": kind,
        "symmetric": symmetric,
        "strategy": "channel" if scheme.group is None else "group",
        "group_size": scheme.group,
        "dynamic": False,
        "actorder": None,
    }
    return {
        "format": _format(scheme),
        "targets": targets,
        "weights": weights,
        "input_activations": None,
        "output_activations": None,
    }


def _scheme_in(group: Mapping[str, Any], form: str) -> CompressedTensors:
    """The scheme of a group of the configuration."""
    check_settings(group, _GROUP_KNOWN, _GROUP_FIXED, "a group of config_groups")
    weights = group["weights"]
    check_settings(weights, _WEIGHT_KNOWN, _WEIGHT_FIXED, "the weights of a group")
    kind, bits, strategy = weights["type"], weights["num_bits"], weights["strategy"]
    symmetric, ordered = weights["symmetric"], weights.get("actorder")
    if strategy not in ("channel", "group"):
        raise UnsupportedError(f"scales have the strategy {strategy!r}; read are channel and group")
    size = weights["group_size"] if strategy == "group" else None
    if form == PACKED and kind == "int" and bits in WIDTHS:
        return PackQuantized(size, bits, symmetric, ordered in ("group", "dynamic"))
    if form == FLOAT and kind == "float" and bits == 8 and symmetric:
        return FloatQuantized(size)
    raise UnsupportedError(
        f"weights are {kind}{bits} in the format {form!r}; read are {PACKED} of 1 to 8 bits and "
        f"{FLOAT} of 8, symmetric"
    )


def _named(module: str, targets: Sequence[str]) -> bool:
    """Whether a target is the layer's class, its name, or a pattern of names."""

    def fits(target: str) -> bool:
        if target.startswith("re:"):
            return re.match(target.removeprefix("re:"), module) is not None
        return target in (module, "Linear")

    return any(map(fits, targets))
