import dataclasses
import json

import pytest

from dopt.errors import ConfigurationError, DataError
from dopt.models import Config, LinearScaling, Llama3Scaling
from dopt.models.config_json import from_hugging_face, read_config, to_hugging_face


LLAMA = {
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 172,
    "max_position_embeddings": 512,
    "num_attention_heads": 8,
    "num_hidden_layers": 5,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 512,
}
CONFIG = Config(
    vocabulary=512,
    layers=5,
    d_model=64,
    heads=8,
    kv_heads=4,
    head_size=8,
    d_ff=172,
    context=512,
    tied=True,
)
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"num_key_value_heads": None}, {"kv_heads": 8}),
        ({"head_dim": 16, "rope_theta": 5e5}, {"head_size": 16, "rope_theta": 5e5}),
        ({"rope_scaling": LLAMA3}, {"scaling": Llama3Scaling(8.0, 1.0, 4.0, 8192)}),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, {"scaling": LinearScaling(2.0)}),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 1e5}},
            {"rope_theta": 1e5},
        ),
        ({"model_type": "mistral", "sliding_window": 256}, {"sliding_window": 256}),
        ({"model_type": "mistral", "sliding_window": None}, {}),
        (
            {"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 131072},
            {"qkv_bias": True},
        ),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 128},
            {"qkv_bias": True, "sliding_window": 128},
        ),
        ({"model_type": "qwen3", "head_dim": 8}, {"qk_norm": True}),
    ],
)
def test_settings_are_read(tmp_path, change, expected):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | change))
    assert read_config(path) == dataclasses.replace(CONFIG, **expected)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"scaling": LinearScaling(3.0), "tied": False},
        {"scaling": Llama3Scaling(8.0, 1.0, 4.0, 8192), "rope_theta": 5e5},
        {"qkv_bias": True, "kv_heads": 8},
        {"qk_norm": True, "head_size": 32},
        {"sliding_window": 100, "norm_eps": 1e-6},
    ],
)
def test_what_is_written_is_read_back(change):
    config = dataclasses.replace(CONFIG, **change)
    assert from_hugging_face(json.loads(json.dumps(to_hugging_face(config)))) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gpt2"}, "is 'gpt2'; known are llama, mistral, qwen2, qwen3"),
        ({"model_type": None}, "is None"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'; the decoder only has 'silu'"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"quantization_config": {"bits": 4}}, "quantization_config = {'bits': 4}"),
        ({"logit_soft_cap": 30}, "setting logit_soft_cap = 30 is not known"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "scaling is 'yarn'; known are default, linear"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor = None; it must be given"),
        ({"rope_scaling": {"type": "linear", "factor": 2, "beta": 1}}, "no setting beta = 1"),
        ({"rope_scaling": [2]}, r"\[2\]; they must be an object"),
        ({"vocab_size": "512"}, "vocab_size = '512'; it must be given as an integer"),
        ({"num_hidden_layers": -1}, "layers = -1"),
        ({"num_attention_heads": 7}, "head_dim is not given, and hidden_size = 64 over 7"),
        ({"model_type": "qwen3"}, "head_dim is not given"),
        ({"model_type": "mistral"}, "sliding_window = None; it must be given"),
        ({"layer_types": ["chunked_attention"]}, "a layer of type 'chunked_attention'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, change, words):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | change))
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_config(path)
    assert str(caught.value).startswith(str(path))


def test_files_that_are_no_configuration(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_config(path)
    path.write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_config(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="holds no JSON object"):
        read_config(path)


def test_no_architecture_has_biases_and_norms():
    with pytest.raises(ConfigurationError, match="has qk_norm and qkv_bias together"):
        to_hugging_face(dataclasses.replace(CONFIG, qk_norm=True, qkv_bias=True))
