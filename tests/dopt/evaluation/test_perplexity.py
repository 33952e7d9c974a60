import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_decoders import drawn, log_probabilities

from dopt.errors import ConfigurationError, InterruptedRunError
from dopt.evaluation import forward, scoring
from dopt.evaluation.per_token import paired_difference
from dopt.evaluation.perplexity import perplexity
from dopt.evaluation.windows import cut, rows
from dopt.models import Model, load_llama2c, load_llama2c_tokenizer


TEXT = np.random.default_rng(7).integers(0, 13, 40)


def plain_sums(model, windows):
    """−Σ log p of each window, token by token."""
    sums = []
    for row, first, end in zip(*windows, strict=True):
        scores = log_probabilities(model, row[:end])
        sums.append(-sum(scores[j - 1, row[j]] for j in range(first, end)))
    return sums


@pytest.mark.parametrize(
    ("window", "stride", "bos", "batch"),
    [(8, None, None, None), (8, 3, None, 2), (8, 5, 4, 3)],
)
def test_sums_are_those_of_plain_loops(monkeypatch, window, stride, bos, batch):
    monkeypatch.setattr(scoring, "CHUNK", 5)
    model = drawn()
    found = perplexity(model, TEXT, window=window, stride=stride, bos=bos, batch=batch)
    windows = cut(TEXT, window, stride, bos=bos)
    np.testing.assert_allclose(found.nll, plain_sums(model, windows), rtol=1e-12)
    assert found.nll.dtype == np.float64
    assert found.counts.tolist() == windows.counts.tolist()
    assert found.value == pytest.approx(np.exp(found.nll.sum() / found.counts.sum()))


def test_windows_do_not_see_how_they_are_batched(monkeypatch):
    model = drawn()
    found = perplexity(model, TEXT, window=8, stride=3, batch=2)
    monkeypatch.setattr(forward, "_SLAB", 1)
    slabs = perplexity(model, TEXT, window=8, stride=3, batch=2)
    assert found.nll.tobytes() == slabs.nll.tobytes()
    some = perplexity(model, TEXT, window=8, stride=3, most=3, batch=1)
    np.testing.assert_allclose(some.nll, found.nll[:3], rtol=1e-12)


@pytest.mark.parametrize(
    ("count", "batch", "rows_found"), [(17, 4, 4), (16, 4, 4), (5, 4, 3), (1, 4, 1), (9, None, 9)]
)
def test_batches_are_even(count, batch, rows_found):
    assert forward.batch_rows((count, 8), batch) == rows_found


def test_float32_and_x64_off():
    model = drawn(dtype=jnp.float32)
    with jax.enable_x64(False):
        found = perplexity(model, TEXT, window=8)
    expected = plain_sums(model, cut(TEXT, 8))
    np.testing.assert_allclose(found.nll, expected, rtol=1e-5)
    assert found.nll.dtype == np.float64


def test_models_on_the_same_windows_are_compared_in_pairs():
    a, b = (perplexity(drawn(seed), TEXT, window=8) for seed in (0, 1))
    found = paired_difference(a.per_token, b.per_token)
    assert found.mean == pytest.approx(a.mean - b.mean)
    longer = perplexity(drawn(), TEXT, window=9)
    with pytest.raises(ConfigurationError, match="measured on different windows"):
        paired_difference(a.per_token, longer.per_token)


def test_a_broken_model_has_an_infinite_perplexity():
    params, config = drawn()
    loud = Model(params | {"norm": 1e5 * params["norm"]}, config)
    assert perplexity(loud, TEXT, window=8).value == math.inf


def test_progress_is_told_and_stops_are_heard():
    told = []
    model = drawn()
    perplexity(model, TEXT, window=8, batch=2, on_progress=lambda *step: told.append(step))
    assert told == [(i + 1, 6) for i in range(6)]
    with pytest.raises(InterruptedRunError, match="stopped on request"):
        perplexity(model, TEXT, window=8, batch=2, stopping=lambda: True)
    perplexity(model, TEXT, window=8, batch=2, stopping=lambda: len(told) < 6)


@pytest.mark.parametrize(
    ("tokens", "how", "words"),
    [
        ([1, 2, 13], {"window": 3}, "token 13 is not in the vocabulary of 0 to 12"),
        (TEXT, {"window": 13}, "13 tokens, but the model was made for 12"),
        (TEXT, {"window": 8, "bos": 99}, "token 99 is not in"),
        (rows(TEXT[None, :8]), {"stride": 2}, "beside windows"),
    ],
)
def test_what_cannot_be_measured_is_said(tokens, how, words):
    with pytest.raises(ConfigurationError, match=words):
        perplexity(drawn(), tokens, **how)


@pytest.mark.data
def test_stories260k_on_real_text():
    folder = Path(os.environ["DOPT_DATA"])
    model = load_llama2c(folder / "stories260K" / "stories260K.bin")
    tokenizer = load_llama2c_tokenizer(folder / "stories260K" / "tok512.bin")
    text = (folder / "text_tinystories" / "tinystories_sample_cs336.txt").read_text()
    tokens = tokenizer.encode(text[:800])
    found = perplexity(model, tokens, window=64, stride=48, bos=tokenizer.bos, most=4)
    windows = cut(tokens, 64, 48, bos=tokenizer.bos).most(4)
    np.testing.assert_allclose(found.nll, plain_sums(model, windows), rtol=2e-5)
    assert 1.0 < found.mean < 2.0
