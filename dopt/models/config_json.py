"""Hugging Face's `config.json`, read and written; what is not known is refused by name."""

import json
from pathlib import Path
from typing import Any

from dopt.errors import ConfigurationError, DataError
from dopt.models.config import Config, LinearScaling, Llama3Scaling, Scaling


ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")

_FIXED: dict[str, tuple[Any, ...]] = {
    "attention_bias": (False, None),
    "hidden_act": ("silu",),
    "mlp_bias": (False, None),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
    "rope_interleaved": (False, None),
}
"""Settings that would change the forward pass, and the values that it has."""

_READ = {
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "max_position_embeddings",
    "max_window_layers",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "use_sliding_window",
    "vocab_size",
}

_HARMLESS = {
    "_attn_implementation",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "return_dict",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
}
"""Settings of training, of generation and of other tools."""


def read_config(path: Path) -> Config:
    """The configuration of a Llama, Mistral, Qwen2 or Qwen3 model.

    Args:
        path: of `config.json`.

    Raises:
        DataError: the file cannot be read, or is not a JSON object.
        ConfigurationError: an architecture, a setting or a value that the decoder does not have.
    """
    values = read_settings(path)
    try:
        return from_hugging_face(values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a `config.json`, unchecked.

    Raises:
        DataError: the file cannot be read, or is not a JSON object.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}; fetch it again") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no JSON object; fetch it again")
    return values


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in the settings of a `config.json`; see `read_config`."""
    kind = values.get("model_type")
    if kind not in ARCHITECTURES:
        raise ConfigurationError(
            f"the architecture (model_type) is {kind!r}; known are {', '.join(ARCHITECTURES)}"
        )
    _refuse_unknown(values)
    heads = _integer(values, "num_attention_heads")
    d_model = _integer(values, "hidden_size")
    theta, scaling = _rope(values)
    # Only old Llama files leave these out; the other architectures have defaults of their own.
    given = values if kind != "llama" else {"num_key_value_heads": heads} | _without_null(values)
    if values.get("head_dim") is None and (kind == "qwen3" or d_model % heads):
        raise ConfigurationError(
            f"head_dim is not given, and hidden_size = {d_model} over {heads} heads does not tell"
        )
    head_size = values.get("head_dim")
    return Config(
        vocabulary=_integer(values, "vocab_size"),
        layers=_integer(values, "num_hidden_layers"),
        d_model=d_model,
        heads=heads,
        kv_heads=_integer(given, "num_key_value_heads"),
        head_size=d_model // heads if head_size is None else _integer(values, "head_dim"),
        d_ff=_integer(values, "intermediate_size"),
        context=_integer(values, "max_position_embeddings"),
        rope_theta=theta,
        scaling=scaling,
        norm_eps=_number(values, "rms_norm_eps"),
        tied=bool(values.get("tie_word_embeddings", False)),
        qk_norm=kind == "qwen3",
        qkv_bias=kind == "qwen2",
        sliding_window=_window(values, kind),
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The settings of a `config.json` that `from_hugging_face` reads back.

    Raises:
        ConfigurationError: no architecture of theirs has this combination.
    """
    odd = [
        name
        for name in ("qk_norm", "qkv_bias", "sliding_window")
        if getattr(config, name) not in (False, None)
    ]
    if len(odd) > 1:
        raise ConfigurationError(f"no known architecture has {' and '.join(odd)} together")
    kinds = {"qk_norm": "qwen3", "qkv_bias": "qwen2", "sliding_window": "mistral"}
    kind = kinds[odd[0]] if odd else "llama"
    scaling: dict[str, Any] | None = None
    if isinstance(config.scaling, LinearScaling):
        scaling = {"rope_type": "linear", "factor": config.scaling.factor}
    elif config.scaling is not None:
        scaling = {
            "rope_type": "llama3",
            "factor": config.scaling.factor,
            "low_freq_factor": config.scaling.low,
            "high_freq_factor": config.scaling.high,
            "original_max_position_embeddings": config.scaling.original_context,
        }
    values = {
        "architectures": [f"{kind.capitalize()}ForCausalLM"],
        "model_type": kind,
        "hidden_act": "silu",
        "vocab_size": config.vocabulary,
        "num_hidden_layers": config.layers,
        "hidden_size": config.d_model,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
    }
    # Mistral's own default is a window, so that its absence has to be said.
    return values | ({"sliding_window": config.sliding_window} if kind == "mistral" else {})


def _refuse_unknown(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name in _FIXED:
            if value not in _FIXED[name]:
                raise ConfigurationError(
                    f"{name} = {value!r}; the decoder only has {_FIXED[name][0]!r}"
                )
        elif name not in _READ | _HARMLESS:
            raise ConfigurationError(
                f"the setting {name} = {value!r} is not known; take it out if the forward pass "
                "does not depend on it"
            )


def _without_null(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _integer(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(f"{name} = {value!r}; it must be given as an integer")
    return value


def _number(values: dict[str, Any], name: str, default: float | None = None) -> float:
    value = values.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ConfigurationError(f"{name} = {value!r}; it must be given as a number")
    return float(value)


def _rope(values: dict[str, Any]) -> tuple[float, Scaling | None]:
    """The base and the scaling; newer files have both in `rope_parameters`."""
    rope = values.get("rope_parameters")
    if rope is None:
        rope = values.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise ConfigurationError(f"the RoPE settings are {rope!r}; they must be an object")
    theta = _number({"rope_theta": 10_000.0} | values | rope, "rope_theta")
    kind = rope.get("rope_type", rope.get("type", "default"))
    names = {
        "default": set(),
        "linear": {"factor"},
        "llama3": {
            "factor",
            "low_freq_factor",
            "high_freq_factor",
            "original_max_position_embeddings",
        },
    }
    if kind not in names:
        raise ConfigurationError(
            f"the RoPE scaling is {kind!r}; known are {', '.join(sorted(names))}"
        )
    for name in rope.keys() - names[kind] - {"rope_type", "type", "rope_theta"}:
        raise ConfigurationError(f"{kind} RoPE scaling has no setting {name} = {rope[name]!r}")
    if kind == "default":
        return theta, None
    factor = _number(rope, "factor")
    if kind == "linear":
        return theta, LinearScaling(factor)
    low, high = _number(rope, "low_freq_factor"), _number(rope, "high_freq_factor")
    return theta, Llama3Scaling(
        factor, low, high, _integer(rope, "original_max_position_embeddings")
    )


def _window(values: dict[str, Any], kind: str) -> int | None:
    """The window where any layer has one; Qwen files name a window that is switched off."""
    layers = values.get("layer_types")
    for layer in layers or []:
        if layer not in ("full_attention", "sliding_attention"):
            raise ConfigurationError(
                f"a layer of type {layer!r}; known are full_attention and sliding_attention"
            )
    if kind == "llama" or (kind != "mistral" and not values.get("use_sliding_window", False)):
        windowed = "sliding_attention" in (layers or [])
    else:
        windowed = layers is None or "sliding_attention" in layers
    if not windowed or (kind == "mistral" and values.get("sliding_window", "") is None):
        return None
    return _integer(values, "sliding_window")
