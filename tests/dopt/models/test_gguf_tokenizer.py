"""Tokenizers in GGUF files, beside the package's own parts, and beside plain loops."""

import json
import os
import unicodedata
from itertools import pairwise
from pathlib import Path

import gguf
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models import load_llama2c_tokenizer
from dopt.models.gguf_file import open_gguf
from dopt.models.gguf_tokenizer import byte_letters, tokenizer_of


TEXT = (
    "The capital of France isn't 1234 apples, it's PARIS'S: they'LL say so!\n\n"
    "  def f(x):\r\n\treturn x**2  # naïve — 東京 🙂 ½ ٣٤٥\n"
    "   Trailing spaces   \n<|end|> and <s>, $5+5=10^1~|x|   "
)


def written(path, **settings):
    """A GGUF file of settings alone, opened."""
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in settings.items():
        key = f"tokenizer.ggml.{name}"
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif value is not None:
            writer.add_string(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return open_gguf(path)


def read(path, **settings):
    return tokenizer_of(written(path, **settings), path)


@pytest.fixture(scope="module")
def small():
    """Tokens, their types and merges: 3 control tokens, the bytes, one of the user, 200 merges."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "</s>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=459,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator([TEXT, Path(__file__).read_text()], trainer)
    model = json.loads(engine.to_str())["model"]
    tokens = [*sorted(model["vocab"], key=model["vocab"].get), "<|end|>"]
    types = [3] * 3 + [1] * (len(tokens) - 4) + [4]
    merges = [" ".join(pair) for pair in model["merges"]]
    return {"model": "gpt2", "tokens": tokens, "token_type": types, "merges": merges}


def plain_encoding(parts, settings):
    """The lowest merge of each part is made everywhere, again and again."""
    numbers = {token: i for i, token in enumerate(settings["tokens"])}
    ranks = {tuple(merge.split()): i for i, merge in enumerate(settings["merges"])}
    letters = byte_letters()
    out = []
    for part in parts:
        symbols = [letters[byte] for byte in part.encode()]
        while True:
            pairs = set(pairwise(symbols)) & ranks.keys()
            if not pairs:
                break
            first, second = min(pairs, key=ranks.get)
            merged, i = [], 0
            while i < len(symbols):
                hit = symbols[i : i + 2] == [first, second]
                merged.append(first + second if hit else symbols[i])
                i += 2 if hit else 1
            symbols = merged
        out += [numbers[symbol] for symbol in symbols]
    return out


def kind(character):
    if character.isspace():
        return "space"
    return {"L": "letter", "N": "number"}.get(unicodedata.category(character)[0], "other")


def run(text, at, wanted):
    end = at
    while end < len(text) and kind(text[end]) == wanted:
        end += 1
    return end


def parts_of_llama3(text, digits):
    """By hand: endings, words with one sign in front, digits, signs with line ends, spaces."""
    at, out = 0, []
    while at < len(text):
        ending = next(
            (e for e in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
             if text[at : at + len(e)].lower() == e), ""
        )  # fmt: skip
        front = at + (kind(text[at]) not in ("letter", "number") and text[at] not in "\r\n")
        if ending:
            end = at + len(ending)
        elif run(text, front, "letter") > front:
            end = run(text, front, "letter")
        elif kind(text[at]) == "number":
            end = min(run(text, at, "number"), at + digits)
        elif run(text, at + (text[at] == " "), "other") > at + (text[at] == " "):
            end = run(text, at + (text[at] == " "), "other")
            while end < len(text) and text[end] in "\r\n":
                end += 1
        else:
            end = run(text, at, "space")
            last = max(text.rfind("\n", at, end), text.rfind("\r", at, end))
            if last >= at:
                end = last + 1
            elif end < len(text) and end - at > 1:
                end -= 1
        out.append(text[at:end])
        at = end
    return out


BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTE_LEVEL])


@pytest.mark.parametrize(("pre", "splitter"), [("gpt-2", BYTE_LEVEL), ("smollm", DIGITS)])
def test_texts_are_split_as_the_packages_own_parts_do(tmp_path, small, pre, splitter):
    found = read(tmp_path / "t.gguf", pre=pre, eos_token_id=1, **small)
    text = TEXT.replace("<|end|>", "")
    back = {letter: byte for byte, letter in byte_letters().items()}
    parts = [
        bytes(back[letter] for letter in part).decode()
        for part, _ in splitter.pre_tokenize_str(text)
    ]
    assert found.encode(text) == plain_encoding(parts, small)
    assert found.decode(found.encode(TEXT)) == TEXT


@pytest.mark.parametrize(("pre", "digits"), [("qwen2", 1), ("llama-bpe", 3)])
def test_texts_are_split_as_by_hand(tmp_path, small, pre, digits):
    found = read(tmp_path / "t.gguf", pre=pre, add_bos_token=False, eos_token_id=1, **small)
    text = TEXT.replace("<|end|>", "")
    assert "".join(parts_of_llama3(text, digits)) == text
    assert found.encode(text) == plain_encoding(parts_of_llama3(text, digits), small)
    assert found.decode(found.encode(TEXT)) == TEXT


def test_the_default_splits_signs_first_and_digits_by_threes(tmp_path, small):
    found = read(tmp_path / "t.gguf", eos_token_id=1, **small)
    assert found.encode("it's 12345 $5") == plain_encoding(
        ["it", "'", "s", " ", "123", "45", " ", "$", "5"], small
    )


def test_special_tokens_are_no_text_and_those_of_the_user_are_whole(tmp_path, small):
    settings = small | {"eos_token_id": 1, "bos_token_id": 0, "add_bos_token": True}
    found = read(tmp_path / "t.gguf", pre="gpt-2", **settings)
    assert (found.vocabulary, found.bos, found.eos) == (len(small["tokens"]), 0, (1, 2))
    end = found.vocabulary - 1
    assert found.encode("<|end|>")[-1] == end
    assert found.decode([0, *found.encode("a<s>b"), 1, 2, end]) == "a<s>b<|end|>"
    assert 0 not in found.encode("a<s>b")
    with pytest.raises(ConfigurationError, match=f"token {end + 1} is not in the vocabulary"):
        found.decode([end + 1])
    with pytest.raises(ConfigurationError, match="the text is not Unicode"):
        found.encode("\ud800")


def test_a_byte_without_a_token_is_said(tmp_path, small):
    tokens = [token if token != "}" else "[UNUSED]" for token in small["tokens"]]
    merges = [merge for merge in small["merges"] if "}" not in merge]
    settings = small | {"tokens": tokens, "merges": merges}
    found = read(tmp_path / "t.gguf", pre="gpt-2", eos_token_id=1, **settings)
    assert found.decode(found.encode("{x")) == "{x"
    with pytest.raises(ConfigurationError, match="holds the byte 0x7d, which no token"):
        found.encode("{x}")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": "t5"}, UnsupportedError, "of kind 't5'; known are gpt2 and llama"),
        ({"model": None}, DataError, "the setting tokenizer.ggml.model is absent"),
        ({"pre": "tekken"}, UnsupportedError, "split for 'tekken'; known are default, gpt-2"),
        ({"merges": ["a zz"]}, DataError, "the merges do not fit the tokens"),
        ({"merges": ["ab"]}, DataError, "'ab' does not name two tokens"),
        ({"token_type": [1]}, DataError, "tokens, but types of 1"),
        ({"tokens": ["a", "a"], "token_type": [1, 1]}, DataError, "1 tokens are there twice"),
        ({"add_bos_token": True}, DataError, "tokenizer.ggml.bos_token_id is absent"),
        ({"model": "llama"}, UnsupportedError, "tokens of the user in a tokenizer of kind llama"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path, small, change, error, words):
    path = tmp_path / "t.gguf"
    with pytest.raises(error, match=words) as caught:
        read(path, **(small | {"pre": "gpt-2", "eos_token_id": 1} | change))
    assert str(caught.value).startswith(str(path))


def test_without_the_package_its_name_is_said(tmp_path, small, monkeypatch):
    reader = written(tmp_path / "t.gguf", pre="gpt-2", **small)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"install dopt-jax\[llm\]"):
        tokenizer_of(reader, tmp_path / "t.gguf")


def data(*names):
    path = Path(os.environ["DOPT_DATA"], *names)
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.data
def test_gpt2_in_a_gguf_is_gpt2_on_real_texts(tmp_path):
    folder = data("tokenizer_gpt2")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    lines = (folder / "merges.txt").read_text().splitlines()
    merges = [line for line in lines if line and not line.startswith("#version")]
    tokens = sorted(vocabulary, key=vocabulary.get)
    types = [3 if token == "<|endoftext|>" else 1 for token in tokens]
    found = read(
        tmp_path / "gpt2.gguf",
        model="gpt2",
        pre="gpt-2",
        tokens=tokens,
        token_type=types,
        merges=merges,
        eos_token_id=50256,
    )
    engine = Tokenizer(
        models.BPE.from_file(*map(str, (folder / "vocab.json", folder / "merges.txt")))
    )
    engine.pre_tokenizer = BYTE_LEVEL
    engine.decoder = decoders.ByteLevel()
    assert found.eos == (50256,)
    for path in sorted(folder.parent.glob("text_*/*")):
        text = path.read_bytes().decode()
        tokens = found.encode(text)
        assert tokens == engine.encode(text).ids
        assert found.decode(tokens) == text


@pytest.mark.data
@pytest.mark.parametrize("space", [True, False])
def test_scores_in_a_gguf_are_those_of_llama2c(tmp_path, space):
    given = load_llama2c_tokenizer(data("stories260K", "tok512.bin"))
    found = read(
        tmp_path / "t.gguf",
        model="llama",
        tokens=[piece.decode().replace(" ", "\u2581") for piece in given.pieces],
        scores=given.scores,
        token_type=[2, 3, 3] + [6] * 256 + [1] * (given.vocabulary - 259),
        bos_token_id=1,
        eos_token_id=2,
        add_space_prefix=space,
    )
    assert (found.bos, found.eos, found.vocabulary) == (1, (2,), given.vocabulary)
    text = "Lily saw a naïve 東京  ball\n"
    assert found.encode(" " * (not space) + text) == given.encode(text)
    assert found.decode(found.encode(text)) == text
