"""A model learns, and a training that was killed goes on with the same numbers."""

import dataclasses

import jax
import numpy as np
import numpy_decoder
import pytest

from dopt.errors import ConfigurationError, DataError, InterruptedRunError
from dopt.models import Config
from dopt.training import Training, forget, train


CONFIG = Config(
    vocabulary=11,
    layers=1,
    d_model=16,
    heads=2,
    kv_heads=1,
    head_size=8,
    d_ff=16,
    context=16,
    tied=True,
)
HOW = Training(steps=24, batch=4, window=8, rate=0.02, every=10)
TOKENS = np.tile(np.array([3, 1, 4, 1, 5, 9, 2, 6], np.int32), 40)
HELD_OUT = np.tile(TOKENS[:8], 5)[3:]


@pytest.fixture(scope="module")
def trained():
    return train(CONFIG, TOKENS, HELD_OUT, HOW)


def test_a_text_that_repeats_itself_is_learnt(trained):
    history = trained[1]
    assert history.steps.tolist() == [10, 20, 24]
    assert history.training[0] > history.training[1] > history.training[2]
    assert history.held_out[-1] < 0.7 * np.log(11)


def test_the_held_out_loss_is_that_of_plain_loops(trained):
    (params, config), history = trained
    windows = HELD_OUT[: len(HELD_OUT) // 8 * 8].reshape(-1, 8)
    losses = []
    for window in windows:
        scores = numpy_decoder.logits(params, config, window)[:-1]
        top = scores - scores.max(axis=1, keepdims=True)
        log = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
        losses += [-log[i, token] for i, token in enumerate(window[1:])]
    assert history.held_out[-1] == pytest.approx(np.mean(losses), rel=1e-4)


def test_what_is_killed_goes_on_with_the_same_numbers(trained, tmp_path):
    class Killed(Exception):
        pass

    def kill(done, total):
        if done == 17:
            raise Killed

    with pytest.raises(Killed):
        train(CONFIG, TOKENS, HELD_OUT, HOW, folder=tmp_path, on_progress=kill)
    asked = iter([False, False, True, True])
    with pytest.raises(InterruptedRunError, match="what is done is kept"):
        train(CONFIG, TOKENS, HELD_OUT, HOW, folder=tmp_path, stopping=lambda: next(asked))
    begun = []
    model, history = train(
        CONFIG, TOKENS, HELD_OUT, HOW, folder=tmp_path, on_progress=lambda *at: begun.append(at)
    )
    assert begun[0] == (13, 24)
    for a, b in zip(jax.tree.leaves(model.params), jax.tree.leaves(trained[0].params), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.array(history), np.array(trained[1]))
    forget(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_seed_decides(trained):
    other, _ = train(CONFIG, TOKENS, HELD_OUT, dataclasses.replace(HOW, seed=1))
    assert not np.array_equal(other.params["embedding"], trained[0].params["embedding"])


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    short = dataclasses.replace(HOW, steps=1)
    train(CONFIG, TOKENS, HELD_OUT, short, folder=tmp_path)
    with pytest.raises(ConfigurationError, match="is of a training with another text; remove it"):
        train(CONFIG, TOKENS + 1, HELD_OUT, short, folder=tmp_path)
    with pytest.raises(ConfigurationError, match="with another setting"):
        train(CONFIG, TOKENS, HELD_OUT, HOW, folder=tmp_path)
    path = tmp_path / "training.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="is damaged"):
        train(CONFIG, TOKENS, HELD_OUT, short, folder=tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training": TOKENS[:8]}, "training part has 8 tokens; with window = 8 it must have at"),
        ({"held_out": TOKENS[:7]}, "held-out part has 7 tokens"),
        ({"training": TOKENS + 2}, "has tokens from 3 to 11; the vocabulary has 11"),
        ({"how": dataclasses.replace(HOW, window=17)}, "17 tokens, but the model was made for 16"),
        ({"how": dataclasses.replace(HOW, rate=1e30)}, "the loss is nan by step 10; give a smal"),
    ],
)
def test_what_cannot_be_trained_is_said(change, words):
    given = {"training": TOKENS, "held_out": HELD_OUT, "how": HOW} | change
    with pytest.raises(ConfigurationError, match=words):
        train(CONFIG, **given)
