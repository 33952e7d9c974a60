import dataclasses
import json
from functools import partial
from pathlib import Path

import exported
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dopt.compression.exports import (
    export_compressed_tensors,
    folder,
    is_quantized,
    read_quantized,
)
from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models import Model, load, memory, save_hugging_face
from dopt.models.package_tokenizer import PackageTokenizer
from dopt.models.scored_tokenizer import ScoredTokenizer
from dopt.models.sharded import write_shards


def matrix(random, out, inputs, _):
    return exported.integers(random, out, inputs)


@pytest.mark.parametrize("change", [{"tied": True}, {"qkv_bias": True}, {"qk_norm": True}])
def test_variants(tmp_path, change):
    model = exported.model_of(matrix, dataclasses.replace(exported.CONFIG, **change))
    export_compressed_tensors(tmp_path, model)
    again = read_quantized(tmp_path)
    assert again.config == model.config
    exported.same(again.params, model.params)


@pytest.mark.parametrize("most", [1, 9000])
def test_shards(tmp_path, monkeypatch, most):
    monkeypatch.setattr(folder, "write_shards", partial(write_shards, most=most))
    model = exported.model_of(matrix)
    export_compressed_tensors(tmp_path, model)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    shards = {path.name: load_file(path) for path in tmp_path.glob("*.safetensors")}
    assert set(index["weight_map"].values()) == set(shards)
    assert all(name in shards[shard] for name, shard in index["weight_map"].items())
    sizes = [sum(a.nbytes for a in shard.values()) for shard in shards.values()]
    assert index["metadata"]["total_size"] == sum(sizes)
    assert most == 1 or max(sizes) <= most
    assert len(shards) == {1: 7 * 2 + 2 * 2 + 3}.get(most, len(shards))
    assert not list(tmp_path.glob("*.part"))
    exported.same(read_quantized(tmp_path).params, model.params)


def test_the_head_once_more_and_old_rotations_are_passed_over(tmp_path):
    config = dataclasses.replace(exported.CONFIG, tied=True)
    model = exported.model_of(matrix, config)
    export_compressed_tensors(tmp_path, model)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(16, np.float32)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    exported.same(read_quantized(tmp_path).params, model.params)
    tensors["lm_head.weight"] = 2 * tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"holds lm_head.weight, which config.json does not ask"):
        read_quantized(tmp_path)


def tokenizer():
    from tokenizers import Tokenizer, models

    words = {"<s>": 0, "</s>": 1} | {f"w{i}": i for i in range(2, 13)}
    return PackageTokenizer(Tokenizer(models.WordLevel(words, "<s>")), bos=0, eos=(1,))


def test_load_opens_the_folder_with_its_tokenizer(tmp_path):
    model = exported.model_of(matrix)
    export_compressed_tensors(tmp_path / "small", model, tokenizer())
    loaded = load(tmp_path / "small")
    exported.same(loaded.model.params, model.params)
    assert loaded.name == "small"
    assert loaded.tokenizer.encode("w5") == [5]
    assert loaded.tokenizer.eos == (1,)
    told = json.loads((tmp_path / "small" / "config.json").read_text())
    assert (told["bos_token_id"], told["eos_token_id"]) == (0, 1)
    names = json.loads((tmp_path / "small" / "tokenizer_config.json").read_text())
    assert (names["bos_token"], names["eos_token"]) == ("<s>", "</s>")


def test_a_folder_that_is_not_quantized(tmp_path):
    model = exported.model_of(lambda *_: None)
    save_hugging_face(tmp_path, model)
    assert not is_quantized(tmp_path)
    with pytest.raises(DataError, match="no known quantization_config"):
        read_quantized(tmp_path)
    assert load(tmp_path).model.config == model.config


def test_a_configuration_that_the_decoder_does_not_have(tmp_path):
    export_compressed_tensors(tmp_path, exported.model_of(matrix))
    assert is_quantized(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"llama"', '"mamba"'))
    with pytest.raises(ConfigurationError, match="mamba"):
        read_quantized(Path(tmp_path), jnp.float32)


def test_a_packed_embedding_is_refused(tmp_path):
    model = exported.model_of(matrix)
    packed = exported.integers(np.random.default_rng(0), 13, 32)
    with pytest.raises(UnsupportedError, match=r"model.embed_tokens is packed"):
        export_compressed_tensors(
            tmp_path / "m", Model(model.params | {"embedding": packed}, model.config)
        )
    assert not (tmp_path / "m").exists()


def test_a_tokenizer_that_other_tools_do_not_read_is_refused(tmp_path):
    scored = ScoredTokenizer([b"a"], [0.0], single=[], silent=[], bos=None, eos=())
    with pytest.raises(UnsupportedError, match=r"tokenizer.json, which a ScoredTokenizer"):
        export_compressed_tensors(tmp_path / "m", exported.model_of(matrix), scored)
    assert not (tmp_path / "m").exists()


def test_a_model_larger_than_memory_and_a_dtype_of_integers_are_refused(tmp_path, monkeypatch):
    export_compressed_tensors(tmp_path, exported.model_of(matrix))
    with pytest.raises(ConfigurationError, match="int32"):
        read_quantized(tmp_path, jnp.int32)
    monkeypatch.setattr(memory, "_free", lambda: 20_000)
    with pytest.raises(ConfigurationError, match=r"needs .* GiB of memory are free"):
        read_quantized(tmp_path)
