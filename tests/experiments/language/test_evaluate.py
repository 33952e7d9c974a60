import dataclasses
import os
from contextlib import contextmanager
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from small_decoders import CONFIG, changed, drawn

from compressors.weights import RoundToNearest
from dopt.errors import ConfigurationError, DataError, DoptError, InterruptedRunError
from dopt.evaluation import bits_per_weight, cut, divergence, joined, perplexity
from dopt.models import Model
from dopt.models.load import Loaded
from experiments.language import evaluate as module
from experiments.language.evaluate import evaluate
from experiments.language.options_evaluate import Evaluate


class Letters:
    """The letters a to l, and a token in front."""

    vocabulary, bos, eos = 13, 12, ()

    def __init__(self, shift=0):
        self.shift = shift

    def encode(self, text):
        return [(ord(letter) - ord("a") + self.shift) % 12 for letter in text.strip()]

    def decode(self, tokens):
        return "".join("abcdefghijkl^"[token] for token in tokens)


def packed(model):
    quantizer = RoundToNearest(bits=4)
    layers = [
        layer | {"up": quantizer.quantize(layer["up"]).weight} for layer in model.params["layers"]
    ]
    return Model(model.params | {"layers": layers}, model.config)


ORIGINAL = drawn(dtype=jnp.float32, config=dataclasses.replace(CONFIG, context=40))
MODELS = {
    "original": Loaded(ORIGINAL, Letters(), "original", "the original is quantized already"),
    "packed": Loaded(packed(ORIGINAL), Letters(), "packed", None),
    "alias": Loaded(packed(ORIGINAL), Letters(), "original", None),
    "mute": Loaded(ORIGINAL, None, "mute", None),
    "shifted": Loaded(ORIGINAL, Letters(1), "shifted", None),
}
TEXT = "".join(np.random.default_rng(2).choice(list("abcdefghijkl"), 50))


@pytest.fixture(autouse=True)
def _models(monkeypatch):
    monkeypatch.setattr(module, "load", MODELS.__getitem__)


@pytest.fixture
def texts(tmp_path):
    paths = tmp_path / "one.txt", tmp_path / "two.txt"
    for path, text in zip(paths, (TEXT, TEXT[::-1]), strict=True):
        path.write_text(text)
    return paths


def asked(texts, **how):
    return Evaluate(**({"model": "packed", "text": texts, "window": 12, "quiet": True} | how))


def printed(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_one_model_on_two_texts(texts, capsys):
    found = evaluate(asked(texts, model="original", stride=7))
    tokens = [Letters().encode(text) for text in (TEXT, TEXT[::-1])]
    alone = perplexity(ORIGINAL, joined([cut(t, 12, 7) for t in tokens]))
    np.testing.assert_array_equal(found.perplexities["original"].nll, alone.nll)
    assert found.divergence is None
    assert found.speeds["original"].decoding.median > 0
    said = printed(capsys)
    assert f"{found.perplexities['original'].value:.3f} ±" in said
    assert "98 tokens scored in 14 windows of 12, stride 7" in said
    assert "the original is quantized already" in said
    assert "tokens/s" in said
    assert "KL" not in said


def test_against_the_original(texts, capsys, tmp_path):
    out = tmp_path / "new" / "windows.parquet"
    found = evaluate(asked(texts, against="original", speed=False, out=out, bos=True))
    tokens = [Letters().encode(text) for text in (TEXT, TEXT[::-1])]
    windows = joined([cut(t, 12, bos=12) for t in tokens])
    expected = divergence(MODELS["packed"].model, ORIGINAL, windows)
    np.testing.assert_array_equal(found.divergence.kl, expected.kl)
    assert not found.speeds
    said = printed(capsys)
    assert "tokens/s" not in said
    assert f"{found.divergence.mean:.5f} ± {found.divergence.error:.5f}" in said
    assert "packed less original: " in said
    assert "100 tokens scored in 10 windows of 12, stride 11, each behind BOS" in said
    assert f"{bits_per_weight(MODELS['packed'].model):.4f} " in said
    table = pd.read_parquet(out)
    assert table["text"].tolist() == [str(texts[0])] * 5 + [str(texts[1])] * 5
    assert table["tokens"].sum() == 100
    np.testing.assert_array_equal(table["kl"], found.divergence.kl)
    assert set(table["against"]) == {"original"}
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_models_of_one_name_stay_apart(texts, capsys):
    found = evaluate(asked(texts, model="original", against="alias", speed=False, windows=3))
    assert list(found.perplexities) == ["original", "alias"]
    assert len(found.divergence.kl) == 3


def test_windows_are_as_long_as_the_model_was_made_for(texts, capsys):
    evaluate(asked(texts, window=None, speed=False, windows=1))
    assert "39 tokens scored in 1 windows of 40" in printed(capsys)


def test_prompts_are_gone_on_from(texts, capsys):
    MODELS["far"] = Loaded(changed(ORIGINAL, 0.8), Letters(), "far", None)
    evaluate(asked(texts, model="far", against="original", prompt=("abc",), new_tokens=6))
    said = printed(capsys)
    assert "^abc" in said
    assert "parts after" in said
    assert said.rindex("original") < said.rindex("far")


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"model": "mute"}, ConfigurationError, "mute has no tokenizer beside it"),
        ({"against": "packed"}, ConfigurationError, "packed is compared with itself"),
        ({"against": "shifted"}, ConfigurationError, "read .*one.txt as different tokens"),
        ({"text": ()}, ConfigurationError, "there is no text"),
        ({"text": (Path("no.txt"),)}, DataError, "no.txt cannot be read"),
        ({"window": 99}, ConfigurationError, "99 tokens, but the model was made for 40"),
        ({"windows": 0}, ConfigurationError, "most = 0 windows"),
        ({"out": Path(os.devnull, "x.parquet")}, DoptError, "cannot be written"),
    ],
)
def test_what_cannot_be_evaluated_is_said(texts, how, error, words):
    with pytest.raises(error, match=words):
        evaluate(asked(texts, **({"speed": False} | how)))


def test_a_stop_is_heard(texts, monkeypatch):
    @contextmanager
    def asked_to_stop():
        yield lambda: True

    monkeypatch.setattr(module, "signals", asked_to_stop)
    with pytest.raises(InterruptedRunError):
        evaluate(asked(texts))
