"""Models in GGUF files, dequantized: architectures llama, qwen2 and qwen3.

Files of the architecture llama (Mistral among them) keep query and key rows interleaved; the others
keep them as they are inside. Llama 3.1's scaling of RoPE is stored as one factor a pair, from which
its constants are found again. Needs the package `gguf` (extra `llm`).

Format: ggml's docs/gguf.md.
"""

import dataclasses
from pathlib import Path as FilePath
from typing import Any

import jax.numpy as jnp
import numpy as np

from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models.config import Config, LinearScaling, Llama3Scaling, Scaling
from dopt.models.gguf_file import open_gguf, setting
from dopt.models.memory import check_dtype, check_memory
from dopt.models.parameters import Model, Path, build, parameter_shapes
from dopt.models.rope import frequencies, half_split


ARCHITECTURES = ("llama", "qwen2", "qwen3")
SCHEMES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")
"""How the arrays may be stored."""

_FACTORS = "rope_freqs.weight"
_OUTSIDE = {"embedding": "token_embd.weight", "norm": "output_norm.weight", "head": "output.weight"}
_INSIDE = {
    "attention_norm": "attn_norm.weight",
    "mlp_norm": "ffn_norm.weight",
    "o": "attn_output.weight",
    **{name: f"attn_{name}.weight" for name in "qkv"},
    **{f"{name}_bias": f"attn_{name}.bias" for name in "qkv"},
    **{f"{name}_norm": f"attn_{name}_norm.weight" for name in "qk"},
    **{name: f"ffn_{name}.weight" for name in ("gate", "up", "down")},
}


def load_gguf(path: str | FilePath, dtype: Any = jnp.float32) -> Model:
    """A model from a GGUF file; quantized weights are those that other readers multiply with.

    Args:
        path: of the file.
        dtype: of the parameters; float32 holds what every scheme stands for.

    Raises:
        DataError: the file cannot be read, is cut or damaged; a tensor is absent, unknown, of
            another shape, or holds NaN or infinity.
        UnsupportedError: an architecture or a scheme that is not known, or an absent package.
        ConfigurationError: sizes that fit no model, or a model that does not fit into memory.
    """
    path = FilePath(path)
    return model_of(open_gguf(path), path, dtype)


def stored_schemes(reader: Any) -> set[str]:
    """How the matrices of an open file are stored, such as Q4_1."""
    return {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}


def model_of(reader: Any, path: FilePath, dtype: Any) -> Model:
    """The model in an open file; see `load_gguf`.

    One array at a time is dequantized, so that nothing but the parameters, the largest array once
    more, and the kernel's pages of the file are resident. The reader loses its settings, which take
    more memory than a small model's file.
    """
    from gguf import dequantize

    kept = check_dtype(dtype)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    try:
        config = _config(reader, tensors)
    except (ConfigurationError, DataError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error}") from error
    _check(path, config, tensors)
    check_memory(config, kept, source=str(path))
    turned = setting(reader, "general.architecture") == "llama"
    reader.fields.clear()

    def read(place: Path, shape: tuple[int, ...]) -> Any:
        tensor = tensors[_name(place)]
        array = dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        if not np.isfinite(array).all():
            raise DataError(f"{path}: {tensor.name} holds NaN or infinity; fetch it again")
        name = str(place[-1])
        if turned and name in ("q", "k"):
            array = half_split(array, config.heads if name == "q" else config.kv_heads)
        return jnp.array(array, kept)

    return Model(build(config, read), config)


def _name(place: Path) -> str:
    if len(place) == 1:
        return _OUTSIDE[str(place[0])]
    return f"blk.{place[1]}.{_INSIDE[str(place[2])]}"


def _config(reader: Any, tensors: dict[str, Any]) -> Config:
    """The configuration in the file's settings, which are named by architecture."""
    found = reader.get_field("general.architecture")
    kind = None if found is None else found.contents()
    if kind not in ARCHITECTURES:
        raise UnsupportedError(
            f"the architecture is {kind!r}; known are {', '.join(ARCHITECTURES)}"
        )

    def value(name: str, default: Any = None) -> Any:
        return setting(reader, f"{kind}.{name}", default)

    if value("expert_count", 0):
        raise UnsupportedError("a mixture of experts; the decoder has one MLP a layer")
    d_model, heads = value("embedding_length"), value("attention.head_count")
    kv_heads = value("attention.head_count_kv", heads)
    if not isinstance(heads, int) or not isinstance(kv_heads, int):
        raise UnsupportedError("the number of heads changes from layer to layer")
    if heads < 1:
        raise ConfigurationError(f"heads = {heads}; it must be a positive integer")
    size = value("attention.key_length", d_model // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if value(name, size) != size:
            raise UnsupportedError(
                f"{kind}.{name} = {value(name)}; the decoder only has the size of a head, {size}"
            )
    if "token_embd.weight" not in tensors:
        raise DataError("token_embd.weight is absent")
    plain = Config(
        vocabulary=int(tensors["token_embd.weight"].shape[-1]),
        layers=value("block_count"),
        d_model=d_model,
        heads=heads,
        kv_heads=kv_heads,
        head_size=size,
        d_ff=value("feed_forward_length"),
        context=value("context_length"),
        rope_theta=float(value("rope.freq_base", 10_000.0)),
        # The shortest decimal of the stored float32 is what was meant: 1e-5, not 9.9999997e-6.
        norm_eps=float(str(np.float32(value("attention.layer_norm_rms_epsilon")))),
        tied="output.weight" not in tensors,
        qk_norm=kind == "qwen3",
        qkv_bias=kind == "qwen2",
        sliding_window=value("attention.sliding_window", 0) or None,
    )
    return dataclasses.replace(plain, scaling=_scaling(value, tensors, plain))


def _scaling(value: Any, tensors: dict[str, Any], plain: Config) -> Scaling | None:
    kind = value("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise UnsupportedError(f"the RoPE scaling is {kind!r}; known are linear and llama3")
    if _FACTORS in tensors:
        factors = np.asarray(tensors[_FACTORS].data, np.float64)
        scaling = Llama3Scaling(max(1.0, float(factors.max(initial=1.0))), 1.0, 4.0, 8192)
        scaled = dataclasses.replace(plain, scaling=scaling)
        expected = frequencies(plain) / frequencies(scaled)
        if kind != "none" or factors.shape != expected.shape or not np.allclose(factors, expected):
            raise UnsupportedError(f"{_FACTORS} are not the factors of Llama 3.1's scaling")
        return scaling
    return LinearScaling(float(value("rope.scaling.factor"))) if kind == "linear" else None


def _check(path: FilePath, config: Config, tensors: dict[str, Any]) -> None:
    """Names, shapes and schemes of all tensors, from the header."""
    expected = {_name(place): shape for place, shape in parameter_shapes(config).items()}
    if absent := sorted(expected.keys() - tensors.keys()):
        raise DataError(f"{path} lacks {', '.join(absent[:3])} of {len(absent)} absent tensors")
    if extra := sorted(tensors.keys() - expected.keys() - {_FACTORS}):
        raise DataError(
            f"{path} holds {', '.join(extra[:3])} of {len(extra)} tensors that its architecture "
            "does not have"
        )
    for name, shape in expected.items():
        # GGUF names the fastest axis first.
        stored = tuple(int(size) for size in reversed(tensors[name].shape))
        if stored != shape:
            raise DataError(f"{path}: {name} has shape {stored}; its settings say {shape}")
        scheme = tensors[name].tensor_type.name
        if scheme not in SCHEMES:
            raise UnsupportedError(
                f"{path}: {name} is stored as {scheme}; read are {', '.join(SCHEMES)}"
            )
