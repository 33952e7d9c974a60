"""`dopt model train`: a small Llama from a text, in a folder that `dopt.models.load` opens.

The folder holds config.json, model.safetensors, tokenizer.json, generation_config.json, and the
loss curve as training.csv, loss.png and loss.pdf.
"""

import dataclasses
import json
import time
from pathlib import Path

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from dopt.errors import ConfigurationError
from dopt.evaluation.text import read_text
from dopt.models import Config, Model, parameter_count, save_hugging_face
from dopt.training import Corpus, Training, corpus, forget, train, unigram_loss
from experiments.advance import Advance
from experiments.language.options_models import Train
from experiments.style import DASHED, DOTTED, FULL, PAPER
from experiments.terminal import out, progress, say, signals


HEAD_SIZE = 64
INCHES = (3.4, 2.4)


def train_model(options: Train) -> Path:
    """Trains, writes the folder, and prints what came out; returns the folder.

    Raises:
        ConfigurationError: settings that fit no model or text, or a folder that holds a model.
        DataError: a text that cannot be read.
        InterruptedRunError: the user asked to stop; the same command goes on.
    """
    folder = options.out
    if (folder / "config.json").exists():
        raise ConfigurationError(f"{folder} holds a model already; name another folder")
    texts = [read_text(path) for path in options.text]
    config = configuration(options)
    how = Training(
        steps=options.steps,
        batch=options.batch,
        window=options.window,
        rate=options.rate,
        seed=options.seed,
    )
    begun = time.monotonic()
    part = corpus(texts, options.vocabulary)
    # A short text has fewer pairs than were asked for.
    config = dataclasses.replace(config, vocabulary=part.tokenizer.vocabulary)
    unigram = unigram_loss(part.training, part.held_out, config.vocabulary)
    say(
        f"{parameter_count(config):,} parameters, {len(part.training):,} tokens to train on, "
        f"{len(part.held_out):,} held out"
    )
    rows: list[tuple[int, float, float]] = []
    with signals() as stopping, progress(options.quiet) as on_advance:

        def on_progress(done: int, total: int) -> None:
            parts = -(-total // how.every)
            kept = min(done // how.every, parts - 1)
            loss = f", held-out loss {rows[-1][2]:.3f}" if rows else ""
            on_advance(Advance(kept, parts, done / how.every - kept, f"step {done}{loss}"))

        model, history = train(
            config,
            part.training,
            part.held_out,
            how,
            folder=folder,
            on_progress=on_progress,
            stopping=stopping,
            on_row=lambda *row: rows.append(row),
        )
    table = pd.DataFrame(history._asdict()).astype({"steps": int})
    write(folder, model, part, table, unigram)
    forget(folder)
    best = table["held_out"].min()
    out.print(
        f"held-out loss {table['held_out'].iloc[-1]:.3f} nats a token (least {best:.3f}; without "
        f"context {unigram:.3f}), {time.monotonic() - begun:.0f} s, in {folder}"
    )
    return folder


def configuration(options: Train) -> Config:
    """The model that the options describe: half as many heads of keys as of queries, if even.

    Raises:
        ConfigurationError: sizes that fit no model.
    """
    if options.d_model % HEAD_SIZE:
        raise ConfigurationError(
            f"d_model = {options.d_model}; it must be a multiple of {HEAD_SIZE}, the size of a head"
        )
    heads = options.d_model // HEAD_SIZE
    return Config(
        vocabulary=options.vocabulary,
        layers=options.layers,
        d_model=options.d_model,
        heads=heads,
        kv_heads=heads if heads % 2 else heads // 2,
        head_size=HEAD_SIZE,
        d_ff=3 * options.d_model,
        context=options.window,
        tied=True,
    )


def write(folder: Path, model: Model, part: Corpus, table: pd.DataFrame, unigram: float) -> None:
    """The files of the folder; config.json, by which it is known, comes last."""
    part.tokenizer.engine.save(str(folder / "tokenizer.json"))
    generation = {"eos_token_id": list(part.tokenizer.eos)}
    (folder / "generation_config.json").write_text(json.dumps(generation) + "\n")
    table.to_csv(folder / "training.csv", index=False)
    with matplotlib.style.context(PAPER):
        shown = figure(table, unigram)
        for ending in ("png", "pdf"):
            shown.savefig(folder / f"loss.{ending}")
    save_hugging_face(folder, model)


def figure(table: pd.DataFrame, unigram: float) -> Figure:
    """Loss against steps, in the caller's settings of matplotlib."""
    shown = Figure(figsize=INCHES)
    ax = shown.subplots()
    for name, label, color, dashes in (
        ("held_out", "held-out text", "#D55E00", FULL),
        ("training", "training text", "#0072B2", DASHED),
    ):
        line = (0, dashes) if dashes else "-"
        ax.plot(table["steps"], table[name], label=label, color=color, linestyle=line)
    ax.axhline(unigram, color="#555555", linestyle=(0, DOTTED), linewidth=0.7, label="no context")
    ax.set_xlabel("steps")
    ax.set_ylabel("loss, nats a token")
    ax.legend()
    return shown
