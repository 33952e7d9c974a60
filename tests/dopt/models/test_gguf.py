import dataclasses
import struct

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import numpy_decoder
import pytest

from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models import Config, LinearScaling, Llama3Scaling, Model, load_gguf, logits
from dopt.models.parameters import build
from dopt.models.rope import frequencies


CONFIG = Config(
    vocabulary=13,
    layers=2,
    d_model=64,
    heads=4,
    kv_heads=2,
    head_size=16,
    d_ff=96,
    context=32,
    rope_theta=1e5,
)
TOKENS = np.array([1, 12, 5, 0, 7])
NAMES = {
    "embedding": "token_embd",
    "norm": "output_norm",
    "head": "output",
    "attention_norm": "attn_norm",
    "mlp_norm": "ffn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
}


def stored(config):
    random = np.random.default_rng(2)
    draw = lambda _, shape: random.normal(0, 0.3, shape).astype(np.float32)  # noqa: E731
    return Model(build(config, draw), config)


def name_of(path):
    prefix = f"blk.{path[1]}." if len(path) == 3 else ""
    if str(path[-1]).endswith("_bias"):
        return f"{prefix}attn_{path[-1][0]}.bias"
    return f"{prefix}{NAMES[path[-1]]}.weight"


def write(path, model, *, kind="llama", scheme="F32", settings=(), change=()):
    """A GGUF file of a model; returns the bytes of each quantized matrix."""
    writer = gguf.GGUFWriter(path, kind)
    config = model.config
    sizes = {
        "block_count": config.layers,
        "embedding_length": config.d_model,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_size,
        "feed_forward_length": config.d_ff,
        "context_length": config.context,
        "rope.freq_base": config.rope_theta,
        "attention.layer_norm_rms_epsilon": config.norm_eps,
        **dict(settings),
    }
    for name, value in sizes.items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        if isinstance(value, list):
            writer.add_array(f"{kind}.{name}", value)
        elif value is not None:
            add[type(value)](f"{kind}.{name}", value)
    arrays = {}
    build(config, lambda place, _: arrays.update({name_of(place): None}))
    for place, array in jax.tree_util.tree_flatten_with_path(model.params)[0]:
        arrays[name_of([getattr(key, "key", getattr(key, "idx", None)) for key in place])] = array
    raw = {}
    for name, array in (arrays | dict(change)).items():
        quantization = gguf.GGMLQuantizationType[scheme if np.ndim(array) == 2 else "F32"]
        if array is not None and scheme != "F32" and array.ndim == 2:
            raw[name] = gguf.quantize(array, quantization)
            writer.add_tensor(name, raw[name], raw_dtype=quantization)
        elif array is not None:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return raw


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("llama", {}),
        ("llama", {"tied": True, "scaling": LinearScaling(2.0)}),
        ("llama", {"scaling": Llama3Scaling(32.0, 1.0, 4.0, 8192)}),
        ("qwen2", {"qkv_bias": True}),
        ("qwen3", {"qk_norm": True, "head_size": 32, "norm_eps": 1e-6}),
    ],
)
def test_models_are_read(tmp_path, kind, change):
    model = stored(dataclasses.replace(CONFIG, **change))
    settings, tensors = {}, {}
    if kind == "llama" and "scaling" in change:
        if "tied" in change:
            settings = {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}
        else:
            factors = frequencies(CONFIG) / frequencies(model.config)
            tensors = {"rope_freqs.weight": factors.astype(np.float32)}
    write(tmp_path / "m.gguf", model, kind=kind, settings=settings, change=tensors)
    found = load_gguf(tmp_path / "m.gguf", jnp.float64)
    assert found.config == model.config
    expected = numpy_decoder.logits(*model, TOKENS, interleaved=kind == "llama")
    np.testing.assert_allclose(logits(*found, TOKENS[None])[0], expected, atol=1e-10)


def dequantized(row, scheme):
    """The numbers of a row of blocks of 32, byte by byte."""
    out = []
    size = {"Q8_0": 34, "Q4_0": 18, "Q4_1": 20}[scheme]
    for block in (row[at : at + size].tobytes() for at in range(0, len(row), size)):
        d = struct.unpack_from("<e", block)[0]
        if scheme == "Q8_0":
            out += [d * q for q in struct.unpack_from("<32b", block, 2)]
            continue
        codes = block[2:] if scheme == "Q4_0" else block[4:]
        nibbles = [code & 15 for code in codes] + [code >> 4 for code in codes]
        if scheme == "Q4_0":
            out += [d * (q - 8) for q in nibbles]
        else:
            out += [d * q + struct.unpack_from("<e", block, 2)[0] for q in nibbles]
    return np.array(out)


@pytest.mark.parametrize("scheme", ["Q8_0", "Q4_0", "Q4_1"])
def test_schemes_are_read_byte_by_byte(tmp_path, scheme):
    model = stored(CONFIG)
    raw = write(tmp_path / "m.gguf", model, scheme=scheme)
    params = load_gguf(tmp_path / "m.gguf").params
    for name in ("v", "down"):
        expected = [dequantized(row, scheme) for row in raw[f"blk.1.{NAMES[name]}.weight"]]
        np.testing.assert_allclose(params["layers"][1][name], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("scheme", "dtype"), [("F16", np.float16), ("BF16", jnp.bfloat16)])
def test_narrow_floats_are_read(tmp_path, scheme, dtype):
    model = stored(CONFIG)
    write(tmp_path / "m.gguf", model, scheme=scheme)
    found = load_gguf(tmp_path / "m.gguf").params["layers"][0]["up"]
    np.testing.assert_array_equal(found, model.params["layers"][0]["up"].astype(dtype))


ONES = np.ones((13, 64), np.float32)


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        ({"kind": "gpt2"}, UnsupportedError, "architecture is 'gpt2'; known are llama, qwen2"),
        ({"scheme": "Q5_0"}, UnsupportedError, "is stored as Q5_0; read are F32, F16"),
        ({"settings": {"expert_count": 8}}, UnsupportedError, "a mixture of experts"),
        (
            {"settings": {"attention.head_count_kv": [2, 4]}},
            UnsupportedError,
            "heads changes from layer to layer",
        ),
        (
            {"settings": {"rope.dimension_count": 8}},
            UnsupportedError,
            "llama.rope.dimension_count = 8; the decoder only has the size of a head, 16",
        ),
        ({"settings": {"rope.scaling.type": "yarn"}}, UnsupportedError, "scaling is 'yarn'"),
        ({"settings": {"block_count": None}}, DataError, "setting llama.block_count is absent"),
        ({"settings": {"attention.head_count": 0}}, ConfigurationError, "heads = 0"),
        ({"settings": {"feed_forward_length": 64}}, DataError, r"shape \(96, 64\); its settings"),
        ({"change": {"output_norm.weight": None}}, DataError, "lacks output_norm.weight of 1"),
        ({"change": {"token_embd.weight": None}}, DataError, "token_embd.weight is absent"),
        ({"change": {"lora.weight": ONES}}, DataError, "holds lora.weight of 1 tensors that"),
        ({"change": {"token_embd.weight": ONES * np.nan}}, DataError, "holds NaN or infinity"),
        (
            {"change": {"rope_freqs.weight": np.arange(1, 9, dtype=np.float32)}},
            UnsupportedError,
            "rope_freqs.weight are not the factors",
        ),
    ],
)
def test_what_is_not_known_is_refused(tmp_path, wanted, error, words):
    write(tmp_path / "m.gguf", stored(CONFIG), **wanted)
    with pytest.raises(error, match=words) as caught:
        load_gguf(tmp_path / "m.gguf")
    assert str(caught.value).startswith(str(tmp_path))


# The last 24 bytes are padding.
@pytest.mark.parametrize("kept", [0, 3, 8, 30, 200, 700, 3000, -1000, -25])
def test_cut_files_are_refused(tmp_path, kept):
    path = tmp_path / "m.gguf"
    write(path, stored(CONFIG), scheme="Q4_1")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"is cut or damaged|begins with"):
        load_gguf(path)


def test_files_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_gguf(tmp_path / "no.gguf")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"install dopt-jax\[llm\]"):
        load_gguf(tmp_path / "no.gguf")
