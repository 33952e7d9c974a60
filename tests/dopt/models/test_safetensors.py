import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models import Config, Model, load_hugging_face, memory, save_hugging_face
from dopt.models.parameters import build, parameter_count, parameter_shapes


CONFIG = Config(
    vocabulary=11,
    layers=2,
    d_model=8,
    heads=4,
    kv_heads=2,
    head_size=6,
    d_ff=10,
    context=32,
)


def drawn(config, dtype):
    random = np.random.default_rng(1)
    return Model(
        build(config, lambda _, shape: jnp.asarray(random.normal(size=shape), dtype)), config
    )


def same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.float64])
@pytest.mark.parametrize("shard_bytes", [10**9, 700, 1])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, dtype, shard_bytes):
    model = drawn(CONFIG, dtype)
    save_hugging_face(tmp_path / "m", model, shard_bytes=shard_bytes)
    found = load_hugging_face(tmp_path / "m")
    assert found.config == CONFIG
    same_bits(found.params, model.params)
    shards = list((tmp_path / "m").glob("*.safetensors"))
    assert (len(shards) == 1) == (shard_bytes == 10**9)
    assert (tmp_path / "m" / "model.safetensors.index.json").exists() == (len(shards) > 1)
    assert sum(len(load_file(shard)) for shard in shards) == 21


@pytest.mark.parametrize("change", [{"tied": True}, {"qkv_bias": True}, {"qk_norm": True}])
def test_variants(tmp_path, change):
    model = drawn(dataclasses.replace(CONFIG, **change), jnp.float32)
    save_hugging_face(tmp_path, model)
    same_bits(load_hugging_face(tmp_path).params, model.params)
    narrow = load_hugging_face(tmp_path, jnp.bfloat16)
    same_bits(narrow.params, jax.tree.map(lambda a: a.astype(jnp.bfloat16), model.params))


def test_names_are_those_of_hugging_face(tmp_path):
    save_hugging_face(tmp_path, drawn(dataclasses.replace(CONFIG, qkv_bias=True), jnp.float32))
    tensors = load_file(tmp_path / "model.safetensors")
    assert tensors["model.embed_tokens.weight"].shape == (11, 8)
    assert tensors["lm_head.weight"].shape == (11, 8)
    assert tensors["model.norm.weight"].shape == (8,)
    assert {
        name.removeprefix("model.layers.1."): array.shape
        for name, array in tensors.items()
        if name.startswith("model.layers.1.")
    } == {
        "input_layernorm.weight": (8,),
        "post_attention_layernorm.weight": (8,),
        "self_attn.q_proj.weight": (24, 8),
        "self_attn.k_proj.weight": (12, 8),
        "self_attn.v_proj.weight": (12, 8),
        "self_attn.o_proj.weight": (8, 24),
        "self_attn.q_proj.bias": (24,),
        "self_attn.k_proj.bias": (12,),
        "self_attn.v_proj.bias": (12,),
        "mlp.gate_proj.weight": (10, 8),
        "mlp.up_proj.weight": (10, 8),
        "mlp.down_proj.weight": (8, 10),
    }
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "float32"


NORM = "model.norm.weight"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({NORM: None}, DataError, "lacks model.norm.weight, which config.json asks for"),
        ({"model.extra": np.ones(1)}, DataError, "holds model.extra, which config.json does not"),
        ({NORM: np.ones(9, np.float32)}, DataError, r"has shape \(9,\); config.json says \(8,\)"),
        ({NORM: np.full(8, np.nan, np.float32)}, DataError, "norm.weight holds NaN or infinity"),
        ({NORM: np.full(8, np.inf, np.float32)}, DataError, "norm.weight holds NaN or infinity"),
        ({NORM: np.ones(8, np.int8)}, UnsupportedError, "stored as I8; read are F64, F32"),
        (
            {NORM: np.ones(8, ml_dtypes.bfloat16)},
            ConfigurationError,
            "parameters as BF16, F32; ask for one dtype",
        ),
    ],
)
def test_bad_tensors_are_refused(tmp_path, change, error, words):
    save_hugging_face(tmp_path, drawn(CONFIG, jnp.float32))
    path = tmp_path / "model.safetensors"
    tensors = load_file(path) | change
    save_file({name: array for name, array in tensors.items() if array is not None}, path)
    with pytest.raises(error, match=words):
        load_hugging_face(tmp_path)


def test_mixed_dtypes_are_read_as_the_one_asked_for(tmp_path):
    save_hugging_face(tmp_path, drawn(CONFIG, jnp.float32))
    path = tmp_path / "model.safetensors"
    save_file(load_file(path) | {NORM: np.ones(8, ml_dtypes.bfloat16)}, path)
    params = load_hugging_face(tmp_path, jnp.float32).params
    assert {a.dtype for a in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_a_tied_head_may_be_stored_and_must_be_the_embedding(tmp_path):
    model = drawn(dataclasses.replace(CONFIG, tied=True), jnp.float32)
    save_hugging_face(tmp_path, model)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    embedding = tensors["model.embed_tokens.weight"]
    frequencies = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(3, np.float32)}
    save_file(tensors | {"lm_head.weight": embedding} | frequencies, path)
    same_bits(load_hugging_face(tmp_path).params, model.params)
    save_file(tensors | {"lm_head.weight": embedding + 1}, path)
    with pytest.raises(DataError, match=r"lm_head.weight is another matrix"):
        load_hugging_face(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_cut_files_are_refused(tmp_path, kept):
    save_hugging_face(tmp_path, drawn(CONFIG, jnp.float32))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"model.safetensors is cut or damaged"):
        load_hugging_face(tmp_path)


def test_absent_and_strange_files(tmp_path):
    with pytest.raises(DataError, match=r"config.json cannot be read"):
        load_hugging_face(tmp_path)
    save_hugging_face(tmp_path, drawn(CONFIG, jnp.float32), shard_bytes=700)
    with pytest.raises(ConfigurationError, match="holds a model already"):
        save_hugging_face(tmp_path, drawn(CONFIG, jnp.float32))
    index = tmp_path / "model.safetensors.index.json"
    whole = index.read_text()
    first, second = sorted(tmp_path.glob("*.safetensors"))[:2]
    first.rename(tmp_path / "away")
    with pytest.raises(DataError, match=r"model-00001-of.*, which .* names, is not there"):
        load_hugging_face(tmp_path)
    first.write_bytes(second.read_bytes())
    with pytest.raises(DataError, match="in two files"):
        load_hugging_face(tmp_path)
    index.write_text(whole.replace("model-00001", "../model-00001"))
    with pytest.raises(DataError, match="is not there"):
        load_hugging_face(tmp_path)
    index.write_text("[1]")
    with pytest.raises(DataError, match="is no index of shards"):
        load_hugging_face(tmp_path)
    index.unlink()
    with pytest.raises(DataError, match=r"holds neither model.safetensors nor"):
        load_hugging_face(tmp_path)


def test_parameters_that_do_not_fit_the_configuration_are_not_written(tmp_path):
    params, config = drawn(CONFIG, jnp.float32)
    with pytest.raises(ConfigurationError, match=r"gate_proj.weight has shape \(10, 8\); the conf"):
        save_hugging_face(tmp_path, Model(params, dataclasses.replace(config, d_ff=12)))
    assert not list(tmp_path.iterdir())


def test_a_model_larger_than_memory_is_refused_unread(tmp_path, monkeypatch):
    save_hugging_face(tmp_path, drawn(CONFIG, jnp.float32))
    monkeypatch.setattr(memory, "_free", lambda: 5000)
    with pytest.raises(ConfigurationError, match=r"as float32 needs .* GiB, but .* are free"):
        load_hugging_face(tmp_path)
    load_hugging_face(tmp_path, jnp.float16)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [(np.int32, "parameters are floating-point"), (jnp.float64, "jax_enable_x64")],
)
def test_dtypes_that_cannot_be(tmp_path, dtype, words):
    with jax.enable_x64(False), pytest.raises(ConfigurationError, match=words):
        load_hugging_face(tmp_path, dtype)


def test_without_the_package_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"install dopt-jax\[llm\]"):
        save_hugging_face(tmp_path, drawn(CONFIG, jnp.float32))


PEAK = """
import sys, jax
from pathlib import Path
from dopt.models import load_hugging_face
jax.numpy.zeros(3).block_until_ready()
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
before = peak()
params = load_hugging_face(sys.argv[1]).params
print((peak() - before) / sum(array.nbytes for array in jax.tree.leaves(params)))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak")
def test_a_model_is_resident_once(tmp_path):
    config = dataclasses.replace(CONFIG, vocabulary=4096, layers=12, d_model=1024, d_ff=1024)
    shapes = parameter_shapes(config)
    assert 4 * parameter_count(config) > 180e6
    zeros = {shape: jnp.zeros(shape, jnp.float32) for shape in set(shapes.values())}
    save_hugging_face(tmp_path, Model(build(config, lambda _, shape: zeros[shape]), config))
    run = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) < 1.3
