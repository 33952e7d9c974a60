"""Whatever a model lies in is opened by one call, or refused with a sentence."""

import os
import re
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from dopt.errors import DataError
from dopt.models import (
    Config,
    Model,
    load,
    load_tokenizer,
    random_parameters,
    save_hugging_face,
)
from dopt.models.gguf_tokenizer import byte_letters


CONFIG = Config(
    vocabulary=259,
    layers=1,
    d_model=8,
    heads=2,
    kv_heads=1,
    head_size=4,
    d_ff=8,
    context=16,
)


def engine():
    """Bytes as tokens, and <s> in front."""
    letters = [*byte_letters().values(), "<s>", "</s>", "<end>"]
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 256)]
    )
    return made


@pytest.fixture
def folder(tmp_path):
    save_hugging_face(tmp_path / "m", Model(random_parameters(CONFIG, jax.random.key(0)), CONFIG))
    engine().save(str(tmp_path / "m" / "tokenizer.json"))
    return tmp_path / "m"


def test_a_folder_of_hugging_face(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace("{", '{"eos_token_id": [257, 258],', 1))
    model, tokenizer, name, note = load(folder, jnp.bfloat16)
    assert (model.config, name, note) == (CONFIG, "m", None)
    assert model.params["norm"].dtype == jnp.bfloat16
    assert (tokenizer.bos, tokenizer.eos, tokenizer.vocabulary) == (256, (257, 258), 259)
    text = "naïve <s> \r\n"
    assert tokenizer.encode(text) == load_tokenizer(folder).encode(text)
    assert len(tokenizer.encode(text)) == len(text.encode())
    assert tokenizer.decode([256, *tokenizer.encode(text), 257]) == text


def test_a_folder_without_a_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    assert load(str(folder)).tokenizer is None
    with pytest.raises(DataError, match=r"tokenizer.json cannot be read: No such file"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer.json is no tokenizer"):
        load(folder)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "holds no model: neither config.json with safetensors, nor a .gguf"),
        (["notes.txt", "tok512.bin"], "holds no model"),
        (["a.gguf", "b.gguf"], "holds 2 models: a.gguf, b.gguf; name one of the files"),
        (["a.gguf"], "a.gguf begins with 00; a GGUF file begins with GGUF"),
        (["a.bin"], "a.bin is cut: 1 bytes"),
    ],
)
def test_folders_that_hold_no_model_or_several(tmp_path, files, words):
    for name in files:
        (tmp_path / name).write_bytes(b"\0")
    with pytest.raises(DataError, match=re.escape(words)):
        load(tmp_path)


def test_paths_that_are_none(folder):
    with pytest.raises(DataError, match=r"nowhere is not there; give .* or one of smollm2-135m"):
        load("nowhere")
    with pytest.raises(DataError, match=r"config.json is a part of a model; give its folder"):
        load(folder / "config.json")
    with pytest.raises(DataError, match=r"is a part of a model; give its folder"):
        load(folder / "model.safetensors")


@pytest.mark.data
def test_stories260k_with_its_tokenizer(tmp_path):
    folder = Path(os.environ["DOPT_DATA"], "stories260K")
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    model, tokenizer, name, note = load(folder)
    assert (name, note, tokenizer.vocabulary) == ("stories260K", None, 512)
    assert (tokenizer.bos, tokenizer.eos) == (1, (1, 2))
    alone = tmp_path / "stories260K.bin"
    alone.write_bytes((folder / "stories260K.bin").read_bytes())
    again = load(alone)
    assert again.tokenizer is None
    np.testing.assert_array_equal(again.model.params["norm"], model.params["norm"])
    pieces = (folder / "tok512.bin").read_bytes()
    (tmp_path / "tokenizer.bin").write_bytes(pieces + b"\0\0\0\0\1\0\0\0!")
    with pytest.raises(DataError, match=r"has 513 tokens, but .*stories260K.bin has 512"):
        load(alone)
    assert load_tokenizer(folder / "tok512.bin").vocabulary == 512


def gguf_file(path, *, quantized, tokenizer=True):
    """A model of one layer whose tokens are bytes."""
    writer = gguf.GGUFWriter(path, "llama")
    sizes = {"block_count": 1, "embedding_length": 32, "feed_forward_length": 32}
    for name, value in (sizes | {"attention.head_count": 2, "context_length": 16}).items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    letters = [*byte_letters().values(), "ab"]
    if tokenizer:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(letters)
        writer.add_token_merges(["a b"])
        writer.add_eos_token_id(256)
    square = np.linspace(-1, 1, 1024, dtype=np.float32).reshape(32, 32)
    vectors = ("attn_norm", "ffn_norm")
    names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    scheme = gguf.GGMLQuantizationType.Q8_0
    for name in (f"blk.0.{n}.weight" for n in names):
        data = gguf.quantize(square, scheme) if quantized else square
        writer.add_tensor(name, data, raw_dtype=scheme if quantized else None)
    for name in (*(f"blk.0.{n}.weight" for n in vectors), "output_norm.weight"):
        writer.add_tensor(name, np.ones(32, np.float32))
    writer.add_tensor("token_embd.weight", np.ones((257, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("quantized", [True, False])
def test_a_gguf_file_alone_in_a_folder(tmp_path, quantized):
    gguf_file(tmp_path / "tiny.gguf", quantized=quantized)
    model, tokenizer, name, note = load(tmp_path)
    assert (name, tokenizer.vocabulary, tokenizer.eos) == ("tiny", 257, (256,))
    assert tokenizer.decode(tokenizer.encode("abc")) == "abc"
    assert model.params["norm"].dtype == jnp.float32
    assert load(tmp_path / "tiny.gguf", jnp.bfloat16).model.params["norm"].dtype == jnp.bfloat16
    assert (note is None) == (not quantized)
    if quantized:
        assert note.startswith("tiny is quantized already (Q8_0): its dequantized weights are the")


def test_a_gguf_file_without_a_tokenizer_and_with_one_beside_it(tmp_path):
    gguf_file(tmp_path / "tiny.gguf", quantized=False, tokenizer=False)
    assert load(tmp_path).tokenizer is None
    engine().save(str(tmp_path / "tokenizer.json"))
    assert load(tmp_path).tokenizer.bos == 256
