import os
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpy_decoder
import pytest

from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models import (
    Config,
    Model,
    generate,
    load_llama2c,
    load_llama2c_tokenizer,
    logits,
    parameter_count,
)
from dopt.models.parameters import build


SIZES = (12, 10, 2, 3, 1, 13, 16)
CONFIG = Config(
    vocabulary=13,
    layers=2,
    d_model=12,
    heads=3,
    kv_heads=1,
    head_size=4,
    d_ff=10,
    context=16,
)
TOKENS = np.array([1, 12, 5, 0, 7])


def stored(tied):
    """Parameters with interleaved rows, as the files have them."""
    random = np.random.default_rng(2)
    config = Config(**(vars(CONFIG) | {"tied": tied}))
    draw = lambda _, shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
    return Model(build(config, draw), config)


def file_bytes(model, version, sizes=SIZES):
    params, config = model
    layers = {name: [layer[name] for layer in params["layers"]] for name in params["layers"][0]}
    attention = [*layers["q"], *layers["k"], *layers["v"], *layers["o"]]
    mlp = [*layers["gate"], *layers["down"], *layers["up"]]
    head = [] if config.tied else [params["head"]]
    if version == 0:
        vocabulary = sizes[5] if config.tied else -sizes[5]
        header = struct.pack("<7i", *sizes[:5], vocabulary, sizes[6])
        rotations = [np.full((2, 16, 2), np.nan, np.float32)]
        arrays = [params["embedding"], *layers["attention_norm"], *attention]
        arrays += [*layers["mlp_norm"], *mlp, params["norm"], *rotations, *head]
    else:
        header = struct.pack("<Ii7iB", 0x616B3432, version, *sizes, config.tied).ljust(256, b"\0")
        arrays = [*layers["attention_norm"], *layers["mlp_norm"], params["norm"]]
        arrays += [params["embedding"], *attention, *mlp, *head]
    return header + b"".join(array.tobytes() for array in arrays)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("tied", [True, False])
def test_both_forms_are_read(tmp_path, version, tied):
    model = stored(tied)
    path = tmp_path / "model.bin"
    path.write_bytes(file_bytes(model, version))
    found = load_llama2c(path, jnp.float64)
    assert found.config == model.config
    expected = numpy_decoder.logits(*model, TOKENS, interleaved=True)
    np.testing.assert_allclose(logits(*found, TOKENS[None])[0], expected, atol=1e-9)


def nan_in_the_norm(model):
    model.params["norm"][3] = np.nan
    return file_bytes(model, 0)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (lambda m: b"", DataError, "is cut: 0 bytes, and its header alone takes 28"),
        (lambda m: file_bytes(m, 0)[:-4], DataError, r"is cut: \d+ bytes, and its header prom"),
        (lambda m: file_bytes(m, 1)[:200], DataError, "is cut within its header"),
        (lambda m: file_bytes(m, 1)[:9], DataError, "is cut: 9 bytes"),
        (lambda m: file_bytes(m, 0) + b"\0", DataError, "has bytes too many"),
        (nan_in_the_norm, DataError, "holds NaN or infinity in norm"),
        (lambda m: file_bytes(m, 2), UnsupportedError, "llama2.c's version 2; versions 0 and 1"),
        (
            lambda m: file_bytes(m, 0, (12, 10, 2, 0, 1, 13, 16)),
            ConfigurationError,
            "dim = 12 is no multiple of n_heads = 0; it is no checkpoint",
        ),
        (
            lambda m: b"GGUF" + bytes(300),
            ConfigurationError,
            "it is no checkpoint of llama2.c, or damaged",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path, content, error, words):
    path = tmp_path / "model.bin"
    path.write_bytes(content(stored(True)))
    with pytest.raises(error, match=words):
        load_llama2c(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_llama2c(tmp_path / "no.bin")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_llama2c_tokenizer(tmp_path / "no.bin")


@pytest.fixture(scope="module")
def folder():
    found = Path(os.environ["DOPT_DATA"], "stories260K")
    if not found.is_dir():
        pytest.skip(f"{found} is not there")
    return found


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_llama2c_tokenizer(folder / "tok512.bin")


PUBLISHED = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high."
)
"""The greedy text in the model's readme."""


@pytest.mark.data
def test_stories260k_writes_what_is_published(folder, tokenizer):
    model = load_llama2c(folder / "stories260K.bin")
    assert parameter_count(model.config) == 260_032
    assert tokenizer.vocabulary == model.config.vocabulary
    published = [tokenizer.bos, *tokenizer.encode(PUBLISHED)]
    (found,) = generate(model, [[tokenizer.bos]], new_tokens=len(published) - 1)
    assert tokenizer.decode([tokenizer.bos, *found]) == PUBLISHED
    # 0.32410 nat a token in the first three sentences, which are 45 tokens with BOS.
    first = [tokenizer.bos, *tokenizer.encode(PUBLISHED[: PUBLISHED.index(" She wanted")])]
    scores = jax.nn.log_softmax(logits(*model, np.array([first])))[0]
    losses = -np.asarray(scores)[np.arange(len(first) - 1), first[1:]]
    assert (len(first), losses.mean()) == (45, pytest.approx(0.32410, abs=1e-5))


def plain_encoding(tokenizer, text):
    """The loop of run.c: all pairs are looked at, and the best is merged, again and again."""
    numbers = {piece: i for i, piece in enumerate(tokenizer.pieces) if i > 258}
    tokens = []
    for character in " " + text:
        raw = character.encode()
        tokens += [numbers[raw]] if raw in numbers else [byte + 3 for byte in raw]
    while True:
        best, at = -1e10, None
        for i in range(len(tokens) - 1):
            merged = numbers.get(tokenizer.pieces[tokens[i]] + tokenizer.pieces[tokens[i + 1]])
            if merged is not None and tokenizer.scores[merged] > best:
                best, at, piece = tokenizer.scores[merged], i, merged
        if at is None:
            return tokens
        tokens[at : at + 2] = [piece]


@pytest.mark.data
@pytest.mark.parametrize(
    "text",
    [
        PUBLISHED,
        "aaaaaaaaaaaaaaaaaaaaaa bbbbb   the  the\n\n  thethethe ",
        "naïve — 東京 🙂 <s> <0x41> </s>",
        "\n",
    ],
)
def test_text_is_encoded_as_run_c_does_and_back(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert tokens == plain_encoding(tokenizer, text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode([tokenizer.bos, *tokens]) == text


@pytest.mark.data
def test_odd_ends_of_texts(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([1, 3 + 0xE6, 2]) == "\ufffd"
    with pytest.raises(ConfigurationError, match="token 512 is not in the vocabulary of 0 to 511"):
        tokenizer.decode([512])


@pytest.mark.data
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c[:3000] if len(c) else c, "is cut within piece"),
        (lambda c: c[:-1], "is cut within piece 511"),
        (lambda c: b"", "tokens 3 to 258 are not the 256 bytes"),
        (lambda c: b"\1" + c[1:], "a piece longer than the 1 bytes"),
    ],
)
def test_bad_tokenizers_are_refused(folder, tmp_path, change, words):
    path = tmp_path / "tok.bin"
    path.write_bytes(change((folder / "tok512.bin").read_bytes()))
    with pytest.raises(DataError, match=words):
        load_llama2c_tokenizer(path)
