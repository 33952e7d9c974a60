import sys
from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
import numpy_decoder
import pytest

from dopt.errors import ConfigurationError
from dopt.models import Config, Model, Sampling, generate, stream
from dopt.models.decoder import prefill
from dopt.models.parameters import build


CONFIG = Config(
    vocabulary=13,
    layers=1,
    d_model=12,
    heads=4,
    kv_heads=2,
    head_size=8,
    d_ff=20,
    context=40,
)
PROMPTS = [[1, 5, 12], [2], [7, 7, 3, 9, 4, 11, 0, 6]]
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def model():
    random = np.random.default_rng(4)
    draw = lambda _, shape: jnp.asarray(random.normal(size=shape), jnp.float64)  # noqa: E731
    return Model(build(CONFIG, draw), CONFIG)


@pytest.fixture(scope="module")
def greedy(model):
    return generate(model, PROMPTS, new_tokens=6)


def test_greedy_text_is_that_of_plain_loops(model, greedy):
    for prompt, found in zip(PROMPTS, greedy, strict=True):
        tokens = list(prompt)
        for _ in range(6):
            tokens.append(int(numpy_decoder.logits(*model, tokens)[-1].argmax()))
        assert found == tokens[len(prompt) :]
    assert len({tuple(row) for row in greedy}) == 3


def test_a_row_ends_at_a_stop_token(model, greedy):
    stop = greedy[2][3]
    found = generate(model, PROMPTS, new_tokens=6, stop=[stop])
    for whole, row in zip(greedy, found, strict=True):
        assert row == (whole[: whole.index(stop)] if stop in whole else whole)
    assert len(found[2]) < 6


def test_a_row_draws_the_same_alone_and_rows_draw_differently(model):
    sampling = Sampling(temperature=2.0, top_k=9, top_p=0.95)
    prompts = [PROMPTS[0], PROMPTS[0], PROMPTS[2]]
    together = generate(model, prompts, new_tokens=6, sampling=sampling, key=KEY)
    assert generate(model, prompts[:1], new_tokens=6, sampling=sampling, key=KEY) == together[:1]
    assert together[0] != together[1]


LOGITS = np.array([0.3, 2.0, -1.0, 1.5, 0.0, 1.0])


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(), [0, 1, 2, 3, 4, 5]),
        (Sampling(temperature=0.5), [0, 1, 2, 3, 4, 5]),
        (Sampling(top_k=3), [1, 3, 5]),
        (Sampling(top_k=100, top_p=0.7), [1, 3, 5]),
        # 0.52 and 0.32 of the three likeliest, so that two reach 0.8.
        (Sampling(top_k=3, top_p=0.8), [1, 3]),
        (Sampling(temperature=3.0, top_p=1e-9), [1]),
        (Sampling(temperature=0.0), [1]),
    ],
)
def test_tokens_are_drawn_with_their_probabilities(sampling, kept):
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.vmap(lambda key: sampling(jnp.asarray(LOGITS), key))(keys)
    found = np.bincount(drawn, minlength=6) / 4000
    weights = np.zeros(6)
    weights[kept] = np.exp(LOGITS[kept] / (sampling.temperature or 1.0))
    expected = weights / weights.sum()
    assert not found[expected == 0].any()
    assert np.abs(found - expected).max() < 5 * np.sqrt(0.25 / 4000)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompts": []}, "there is no prompt"),
        ({"prompts": [[1], []]}, "or one is empty"),
        ({"prompts": [[13]]}, "token 13 is not in the vocabulary of 0 to 12"),
        ({"prompts": [[-1]]}, "token -1 is not in"),
        ({"stop": [99]}, "token 99 is not in"),
        ({"new_tokens": 0}, "new_tokens = 0; it must be at least 1"),
        ({"new_tokens": 41}, "41 tokens, but the model was made for 40"),
        ({"sampling": Sampling()}, "needs a key"),
    ],
)
def test_what_cannot_be_generated_is_said(model, change, words):
    wanted = {"prompts": [[1]], "new_tokens": 1} | change
    with pytest.raises(ConfigurationError, match=words):
        generate(model, **wanted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": -0.1}, "temperature = -0.1"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_k": 0}, "top_k = 0; it must be at least 1"),
        ({"top_p": 0.0}, "top_p = 0.0; it must be above 0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
    ],
)
def test_impossible_sampling_is_refused(change, words):
    with pytest.raises(ConfigurationError, match=words):
        Sampling(**change)


def test_tokens_come_while_they_are_drawn(model, greedy):
    stop = greedy[2][3]
    each = [
        [*turn] for turn in zip(*stream(model, PROMPTS, new_tokens=6, stop=[stop]), strict=True)
    ]
    assert [[*chain(*row)] for row in each] == generate(model, PROMPTS, new_tokens=6, stop=[stop])
    assert all(len(new) <= 1 for row in each for new in row)
    threes = list(stream(model, PROMPTS, new_tokens=5, every=3))
    assert [[len(new) for new in turn] for turn in threes] == [[3, 3, 3], [2, 2, 2]]
    assert [a + b for a, b in zip(*threes, strict=True)] == [row[:5] for row in greedy]
    (ended,) = stream(model, PROMPTS[2:], new_tokens=6, stop=[greedy[2][0]])
    assert ended == [[]]


def test_few_lengths_are_compiled(model, monkeypatch):
    shapes = set()

    def noted(params, config, tokens, lengths, capacity):
        shapes.add((tokens.shape, capacity))
        return prefill(params, config, tokens, lengths, capacity)

    # The package exports the function under the module's name.
    monkeypatch.setattr(sys.modules["dopt.models.generate"], "prefill", noted)
    for length in (1, 9, 30):
        generate(model, [[1] * length], new_tokens=length % 9 + 1)
    assert shapes == {((1, 32), 128)}
