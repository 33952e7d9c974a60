"""Texts become tokens; the end of each is held out."""

import math

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.training import corpus, unigram_loss


STORY = "".join(f"Tom saw {i} red balls and {i % 3} cats.\n" for i in range(200))


def test_nothing_is_lost_and_the_end_is_held_out():
    found = corpus([STORY, "x\n" * 500], 300, held_out=0.1)
    tokenizer = found.tokenizer
    assert tokenizer.vocabulary == 300
    separator = found.training.tolist().index(tokenizer.eos[0])
    front, back = found.training[:separator], found.training[separator + 1 :]
    held = tokenizer.decode(found.held_out.tolist())
    assert tokenizer.decode(front.tolist()) + held.split("x\n")[0] == STORY
    assert tokenizer.decode(back.tolist()) + "x\n" * held.count("x\n") == "x\n" * 500
    # The cut is at a line end.
    assert held.startswith("Tom saw ")
    assert 0.08 < len(held) / (len(STORY) + 1000) < 0.1


def test_documents_are_told_apart():
    found = corpus(["One.<|endoftext|>Two.<|endoftext|>" + "Three. " * 50], 260, held_out=0.01)
    assert found.training.tolist().count(found.tokenizer.eos[0]) == 2
    assert found.tokenizer.decode(found.training.tolist()).startswith("One.Two.Three.")


def test_the_same_text_gives_the_same_tokens():
    first, second = (corpus([STORY], 280) for _ in range(2))
    np.testing.assert_array_equal(first.training, second.training)
    assert first.tokenizer.engine.to_str() == second.tokenizer.engine.to_str()


def test_the_loss_without_context():
    training, held_out = np.array([0, 0, 0, 1], np.int32), np.array([0, 1, 2], np.int32)
    # 4, 2 and 1 of 7.
    expected = -(math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 3
    assert unigram_loss(training, held_out, 3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (([], 300), "there is no text to train on"),
        (([STORY], 256), "vocabulary = 256; it must be at least 257"),
        (([STORY], 300, 0.0), r"held-out share is 0.0; it must be in \(0, 1\)"),
    ],
)
def test_what_cannot_be_is_refused(given, words):
    with pytest.raises(ConfigurationError, match=words):
        corpus(*given)
