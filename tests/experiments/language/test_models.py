"""`dopt model`: what is listed, run, trained and refused."""

import io
import os
from pathlib import Path

import pandas as pd
import pytest

from dopt.models import load, load_llama2c_tokenizer
from experiments.language.models import pieces


PUBLISHED = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball."
)
STORY = "".join(f"Tom saw {i} red balls and {i % 3} cats.\n" for i in range(300))


@pytest.fixture
def stories():
    folder = Path(os.environ["DOPT_DATA"], "stories260K")
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.mark.data
def test_stories260k_tells_what_is_published(dopt_says, stories):
    code, out, err = dopt_says(f"model run {stories} --new-tokens 30", "Once upon a time")
    assert code == 0
    assert out.startswith("Once upon a time, there was a little girl")
    assert out.strip() in PUBLISHED
    assert "first token after" in err


@pytest.mark.data
def test_a_prompt_from_standard_input_and_draws(dopt_says, stories, monkeypatch):
    texts = []
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.StringIO("One day"))
        line = f"model run {stories} - --new-tokens 9 --temperature 2 --top-k 50 --seed 3"
        texts.append(dopt_says(line)[1])
    assert texts[0] == texts[1]
    assert texts[0].startswith("One day")


@pytest.mark.data
def test_a_character_is_shown_when_all_its_bytes_are_there(stories):
    tokenizer = load_llama2c_tokenizer(stories / "tok512.bin")
    tokens = tokenizer.encode("a 東b")
    shown = list(pieces(tokenizer, tokens[:2], ([[token]] for token in tokens[2:])))
    assert "".join(shown) == "a 東b"
    assert "東" in shown


def test_what_is_there_is_listed(dopt_says):
    code, out, _ = dopt_says("model list")
    assert code == 0
    assert "smollm2-135m" in out
    assert "not fetched" in out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model get gpt5", "'gpt5' is not known; known are smollm2-135m"),
        ("model run nowhere hello", "nowhere is not there; give a model's file or folder"),
        ("model run nowhere hello --top-p 2", "top_p = 2.0; it must be above 0"),
        ("model train --text nowhere.txt --out x", "nowhere.txt cannot be read"),
    ],
)
def test_what_cannot_be_is_said(dopt_says, line, words):
    code, _, err = dopt_says(line)
    assert code == 2
    assert words in " ".join(err.split())


def test_a_text_becomes_a_model(dopt_says, tmp_path):
    text, folder = tmp_path / "story.txt", tmp_path / "model"
    text.write_text(STORY)
    sizes = "--d-model 64 --layers 1 --vocabulary 300 --window 16 --batch 2 --steps 60"
    line = f"model train --text {text} --out {folder} {sizes} --quiet"
    code, out, err = dopt_says(line)
    assert code == 0, err
    assert "held-out loss" in out
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "loss.pdf",
        "loss.png",
        "model.safetensors",
        "tokenizer.json",
        "training.csv",
    ]
    table = pd.read_csv(folder / "training.csv")
    assert table["steps"].tolist() == [50, 60]
    assert table["held_out"].iloc[-1] < table["held_out"].iloc[0] < 6
    model, tokenizer, _, note = load(folder)
    assert (tokenizer.vocabulary, tokenizer.eos, note) == (model.config.vocabulary, (0,), None)
    assert tokenizer.decode(tokenizer.encode(STORY)) == STORY
    code, _, err = dopt_says(line)
    assert code == 2
    assert "holds a model already" in " ".join(err.split())
    code, _, err = dopt_says(f"model train --text {text} --out {tmp_path}/b --d-model 65")
    assert code == 2
    assert "d_model = 65; it must be a multiple of 64" in " ".join(err.split())
