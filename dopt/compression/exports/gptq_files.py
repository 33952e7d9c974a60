"""Models as GPTQ files, which AutoGPTQ, GPTQModel, vLLM, transformers and others read.

A matrix [out, in] of b bits in groups of g inputs is in

    qweight  int32 [in·b/32, out]    the stream of the codes of each output, along its inputs
    qzeros   int32 [in/g, out·b/32]  the stream of the zeros of each group, along the outputs
    scales   float16 [in/g, out]
    g_idx    int32 [in]              the group of each input

In the format "gptq" (version 1) zeros are stored less 1, so that a zero of 0 does not exist; in
"gptq_v2" they are stored as they are. b is 2, 3, 4 or 8, and in and out are multiples of 32.

Source: Frantar et al., "GPTQ", arXiv 2210.17323, and the packages AutoGPTQ and GPTQModel, which
fixed the layout.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from compressors.weights import PackedWeight
from dopt.compression.exports.folder import schemes_of, write_folder
from dopt.compression.exports.integers import (
    IntegerMatrix,
    check_integers,
    codes_in,
    groups_in,
    has_groups_in_turn,
    integers_of,
    is_symmetric,
    packed,
    stream,
    zeros_of,
)
from dopt.compression.exports.scheme import FLOATS, Scheme, Tensor
from dopt.compression.exports.settings import check_settings
from dopt.errors import DataError, UnsupportedError
from dopt.models.config import Config
from dopt.models.parameters import Model, Path, leaf, linear_paths
from dopt.models.tokenizer import Tokenizer


METHOD = "gptq"
LESS = {"gptq": 1, "gptq_v2": 0}
"""The formats of a checkpoint, and what stored zeros are less by."""

WIDTHS = (2, 3, 4, 8)
BLOCK = 32
"""What divides in and out, so that streams end with a word."""

_KNOWN = {
    "act_group_aware",
    "batch_size",
    "bits",
    "block_name_to_quantize",
    "cache_block_outputs",
    "checkpoint_format",
    "damp_percent",
    "dataset",
    "desc_act",
    "exllama_config",
    "format",
    "group_size",
    "max_input_length",
    "meta",
    "model_file_base_name",
    "model_name_or_path",
    "model_seqlen",
    "module_name_preceding_first_block",
    "mse",
    "pad_token_id",
    "quant_method",
    "static_groups",
    "sym",
    "tokenizer",
    "true_sequential",
    "use_cuda_fp16",
    "use_exllama",
    "version",
}
_FIXED: dict[str, tuple[Any, ...]] = {
    "dynamic": (None, {}),
    "lm_head": (False, None),
    "modules_in_block_to_quantize": (None,),
    "pack_dtype": ("int32", None),
}


@dataclass(frozen=True)
class GPTQFiles(Scheme):
    """One scheme for all matrices of a model.

    Attributes:
        bits: of a code.
        less: what stored zeros are less by: 1 in version 1, 0 in version 2.
    """

    bits: int
    less: int

    def tensors(self, out: int, inputs: int) -> dict[str, Tensor]:
        """Codes, zeros, scales and groups."""
        groups = groups_in(inputs, self.group)
        return {
            "qweight": Tensor((inputs * self.bits // 32, out), ("I32",)),
            "qzeros": Tensor((groups, out * self.bits // 32), ("I32",)),
            "scales": Tensor((groups, out), FLOATS),
            "g_idx": Tensor((inputs,), ("I32",)),
        }

    def write(self, weight: PackedWeight) -> dict[str, np.ndarray]:
        """The tensors of a matrix of integers."""
        matrix = integers_of(weight)
        return {
            "qweight": stream(matrix.codes, self.bits).T,
            "qzeros": stream(matrix.zeros.T - np.uint8(self.less), self.bits),
            "scales": matrix.scales.T.astype(np.float16),
            "g_idx": matrix.groups,
        }

    def read(self, arrays: Mapping[str, np.ndarray], out: int, inputs: int) -> PackedWeight:
        """The matrix; symmetric where all its zeros are in the middle."""
        codes = codes_in(arrays["qweight"].T, self.bits, inputs)
        stored = codes_in(arrays["qzeros"], self.bits, out).T
        most = (1 << self.bits) - 1 - self.less
        if stored.max(initial=0) > most:
            raise DataError(
                f"a zero is stored as {stored.max()}, which some readers of version 1 take for 0 "
                f"and some for {1 << self.bits}; quantize the model again, as gptq_v2"
            )
        zeros = stored + np.uint8(self.less)
        return packed(IntegerMatrix(self.bits, codes, zeros, arrays["scales"].T, arrays["g_idx"]))


def export_gptq(
    folder: str | FilePath,
    model: Model,
    tokenizer: Tokenizer | None = None,
    *,
    checkpoint_format: Literal["gptq", "gptq_v2"] | None = None,
) -> None:
    """Writes a model all of whose matrices are integers of 2, 3, 4 or 8 bits in one way.

    Args:
        folder: to be made, or without a model.
        model: its matrices `PackedWeight`.
        tokenizer: to be written beside the model, if there is one.
        checkpoint_format: by default "gptq", which every reader has, where all matrices are
            symmetric, and else "gptq_v2": GPTQModel takes zeros of version 1 from itself alone.

    Raises:
        UnsupportedError: a matrix that the format does not hold, named with those that do, or
            matrices of several kinds; nothing is written.
        ConfigurationError: the folder holds a model already, no matrix is quantized, or no known
            architecture has the configuration.
    """
    weights = [leaf(model.params, path) for path in linear_paths(model.config)]
    symmetric = all(isinstance(w, PackedWeight) and is_symmetric(w) for w in weights)
    form = checkpoint_format or ("gptq" if symmetric else "gptq_v2")
    schemes = schemes_of(model, partial(_scheme_of, less=LESS[form]))
    kinds = sorted({(scheme.bits, scheme.group or -1) for scheme in schemes.values()})
    if len(kinds) > 1 or len(schemes) < len(weights):
        raise UnsupportedError(
            f"{len(schemes)} of {len(weights)} matrices are quantized, as (bits, group) = "
            f"{', '.join(map(str, kinds))}; GPTQ files hold all in one way: write "
            "compressed-tensors files"
        )
    bits, group = kinds[0]
    quantization = {
        "quant_method": METHOD,
        "checkpoint_format": form,
        "bits": bits,
        "group_size": group,
        "desc_act": not all(map(has_groups_in_turn, weights)),
        "sym": symmetric,
        "lm_head": False,
        "pack_dtype": "int32",
    }
    # Readers of GPTQ files compute in 16 bits; float16 is the dtype of the scales.
    dtype = "bfloat16" if model.params["norm"].dtype == jnp.bfloat16 else "float16"
    write_folder(FilePath(folder), model, schemes, quantization, tokenizer, dtype=dtype)


def schemes_in(quantization: Mapping[str, Any], config: Config) -> dict[Path, GPTQFiles]:
    """The schemes of the matrices, from the "quantization_config" of a folder.

    Raises:
        UnsupportedError: a setting or a format that is not read.
        KeyError: a setting is absent.
    """
    check_settings(quantization, _KNOWN, _FIXED, "quantization_config")
    bits, group = quantization["bits"], quantization["group_size"]
    form = quantization.get("checkpoint_format") or quantization.get("format") or METHOD
    if form not in LESS or bits not in WIDTHS:
        raise UnsupportedError(
            f"weights of {bits} bits in the checkpoint format {form!r}; read are {WIDTHS} bits in "
            f"{', '.join(LESS)}"
        )
    scheme = GPTQFiles(None if group == -1 else group, bits, LESS[form])
    return dict.fromkeys(linear_paths(config), scheme)


def _scheme_of(weight: PackedWeight, less: int) -> GPTQFiles:
    check_integers(weight, WIDTHS)
    if any(size % BLOCK for size in weight.shape):
        raise UnsupportedError(
            f"GPTQ files hold matrices whose sizes are multiples of {BLOCK}, not {weight.shape}; "
            "write compressed-tensors files"
        )
    scales = np.asarray(weight.scales).astype(np.float32)
    with np.errstate(over="ignore"):
        narrow = scales.astype(np.float16).astype(np.float32)
    if not np.array_equal(narrow, scales):
        raise UnsupportedError(
            f"float16 does not hold its scales of {weight.scales.dtype}; quantize with scales of "
            "float16, or write compressed-tensors files"
        )
    if (zeros_of(weight) < less).any():
        raise UnsupportedError(
            "a group has the zero 0, which GPTQ files of version 1 cannot say; write "
            'checkpoint_format="gptq_v2" or compressed-tensors files, or quantize symmetrically'
        )
    group = None if weight.group == weight.inputs else weight.group
    return GPTQFiles(group, weight.coding.width, less)
