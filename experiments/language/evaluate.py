"""`dopt evaluate`: a language model measured on texts, alone or against another."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from dopt.errors import ConfigurationError, DoptError
from dopt.evaluation import (
    Divergence,
    Perplexity,
    Windows,
    against,
    bits_per_weight,
    cut,
    joined,
    paired_difference,
    perplexity,
    read_text,
    reference,
    resident_bytes,
    side_by_side,
    speed,
)
from dopt.evaluation.speed import Speed
from dopt.evaluation.windows import WINDOW
from dopt.models import Tokenizer, load
from dopt.models.load import Loaded
from experiments.language.options_evaluate import Evaluate
from experiments.language.telling import Tell, telling
from experiments.memory import peak_memory
from experiments.terminal import out, signals


SCHEMA_VERSION = 1

COLUMNS = (
    PERPLEXITY := "perplexity",
    NATS := "nats a token",
    KL := "KL, nats a token",
    AGREEMENT := "top-1 agreement, %",
    BITS := "bits a weight",
    BYTES := "parameters",
    READING := "prefill, tokens/s",
    DRAWING := "decoding, tokens/s",
)


class Cut(NamedTuple):
    """Texts as windows.

    Attributes:
        windows: of all texts.
        files: the text of each window.
    """

    windows: Windows
    files: list[str]


class Measured(NamedTuple):
    """One model, or the model and what it was compared with.

    Attributes:
        perplexities: by the name of the model.
        divergence: from the model it was compared with.
        speeds: by the name of the model.
    """

    perplexities: dict[str, Perplexity]
    divergence: Divergence | None
    speeds: dict[str, Speed]


def evaluate(options: Evaluate) -> Measured:
    """Measures, prints, and writes the file that was asked for.

    Raises:
        ConfigurationError: models without a tokenizer or of two tokenizers, or settings that cannot
            be.
        DataError: a model or a text that cannot be read.
        InterruptedRunError: the user asked to stop.
    """
    models = _loaded(options)
    parts = cut_texts(options, *models.values())
    prompts = [_prompt(models[next(iter(models))], prompt) for prompt in options.prompt]
    jobs = len(models) * (2 if options.speed else 1)
    with signals() as stopping, telling(options.quiet, jobs) as told:
        measured = _measured(options, models, parts.windows, told, stopping)
    out.print(table(models, measured))
    for line in lines(options, parts.windows, models, measured):
        out.print(line)
    if prompts:
        _show(models, prompts, options.new_tokens)
    if options.out is not None:
        _write(options, parts, measured)
    return measured


def cut_texts(options: Evaluate, loaded: Loaded, *others: Loaded) -> Cut:
    """The windows of all texts, by the tokenizer of the first model.

    Raises:
        ConfigurationError: a text of which nothing can be scored, a stride that cannot be, another
            model that reads the texts as other tokens, or no BOS where one is asked for.
        DataError: a text that cannot be read.
    """
    tokenizer = _tokenizer(loaded)
    if options.bos and tokenizer.bos is None:
        raise ConfigurationError(f"{loaded.name} has no first token (BOS); leave --bos out")
    longest = min(model.model.config.longest for model in (loaded, *others))
    window = min(WINDOW, longest) if options.window is None else options.window
    windows, files = [], []
    for path in options.text:
        text = read_text(path)
        tokens = tokenizer.encode(text)
        for other in others:
            if other.tokenizer is not None and other.tokenizer.encode(text) != tokens:
                raise ConfigurationError(
                    f"{loaded.name} and {other.name} read {path} as different tokens; compare "
                    "models of one tokenizer"
                )
        bos = tokenizer.bos if options.bos else None
        windows.append(cut(tokens, window, options.stride, bos=bos))
        files += [str(path)] * len(windows[-1].tokens)
    if not windows:
        raise ConfigurationError("there is no text; give at least one file")
    return Cut(joined(windows).most(options.windows), files[: options.windows])


def table(models: dict[str, Loaded], measured: Measured) -> Table:
    """A row for each model; what was measured of none has no column."""
    rows = {
        name: _row(loaded, measured.perplexities[name], measured.speeds.get(name))
        for name, loaded in models.items()
    }
    if measured.divergence is not None:
        rows[next(iter(models))] |= _compared(measured.divergence)
    columns = [name for name in COLUMNS if any(name in row for row in rows.values())]
    shown = Table("model", *columns)
    for name, row in rows.items():
        shown.add_row(Text(name), *(row.get(column, "") for column in columns))
    return shown


def _row(loaded: Loaded, found: Perplexity, speeds: Speed | None) -> dict[str, str]:
    """What was measured of a model, by column."""
    row = {
        PERPLEXITY: with_error(found.value, found.value * found.error, 3),
        NATS: with_error(found.mean, found.error, 5),
        BYTES: f"{resident_bytes(loaded.model.params) / 1e6:.1f} MB",
    }
    if (bits := bits_per_weight(loaded.model)) is not None:
        row[BITS] = f"{bits:.4f}"
    if speeds is not None:
        row |= {READING: f"{speeds.prefill.median:.0f}", DRAWING: f"{speeds.decoding.median:.1f}"}
    return row


def _compared(found: Divergence) -> dict[str, str]:
    agreement = with_error(100 * found.top1, 100 * found.agreement.error, 2)
    return {KL: with_error(found.mean, found.error, 5), AGREEMENT: agreement}


def lines(
    options: Evaluate, windows: Windows, models: dict[str, Loaded], measured: Measured
) -> Iterator[str]:
    """What has to be said below the table."""
    width = windows.tokens.shape[1]
    stride = options.stride or width - options.bos
    front = ", each behind BOS" if options.bos else ""
    yield (
        f"{windows.counts.sum():,} tokens scored in {len(windows.counts):,} windows of {width}, "
        f"stride {stride}{front}"
    )
    if measured.divergence is not None:
        found = measured.divergence
        pair = paired_difference(found.perplexity.per_token, found.reference_perplexity.per_token)
        first, second = models
        yield (
            f"{first} less {second}: {with_error(pair.mean, pair.error, 5, sign='+')} nats a "
            "token, over pairs of windows"
        )
    yield f"peak memory of this process {peak_memory() / 1e9:.2f} GB"
    yield from (loaded.note for loaded in models.values() if loaded.note is not None)


def _loaded(options: Evaluate) -> dict[str, Loaded]:
    """The models by name, what is measured first."""
    models = {}
    for where in filter(None, (options.model, options.against)):
        loaded = load(where)
        # Two folders may have one name.
        models[loaded.name if loaded.name not in models else where] = loaded
    if options.against is not None and len(models) < 2:
        raise ConfigurationError(
            f"{options.model} is compared with itself; give --against another model"
        )
    return models


def _tokenizer(loaded: Loaded) -> Tokenizer:
    if loaded.tokenizer is None:
        raise ConfigurationError(
            f"{loaded.name} has no tokenizer beside it; put its tokenizer.json or tokenizer.bin "
            "there"
        )
    return loaded.tokenizer


def _prompt(loaded: Loaded, prompt: str) -> list[int]:
    tokenizer = _tokenizer(loaded)
    tokens = ([] if tokenizer.bos is None else [tokenizer.bos]) + tokenizer.encode(prompt)
    if not tokens:
        raise ConfigurationError("a prompt is empty, and the model has no first token")
    return tokens


def _measured(
    options: Evaluate,
    models: dict[str, Loaded],
    windows: Windows,
    told: Tell,
    stopping: Callable[[], bool],
) -> Measured:
    first, *others = models
    model = models[first].model
    if others:
        original = models[others[0]].model
        once = reference(
            original, windows, on_progress=told(f"measuring {others[0]}"), stopping=stopping
        )
        found = against(model, once, on_progress=told(f"measuring {first}"), stopping=stopping)
        perplexities = {first: found.perplexity, others[0]: found.reference_perplexity}
    else:
        found = None
        alone = perplexity(
            model, windows, on_progress=told(f"measuring {first}"), stopping=stopping
        )
        perplexities = {first: alone}
    speeds = {}
    if options.speed:
        for name, loaded in models.items():
            longest = loaded.model.config.longest
            speeds[name] = speed(
                loaded.model,
                prompt=min(128, longest - longest // 4 - 1),
                new_tokens=min(32, longest // 4 + 1),
                on_progress=told(f"timing {name}"),
                stopping=stopping,
            )
    return Measured(perplexities, found, speeds)


def _show(models: dict[str, Loaded], prompts: list[list[int]], new_tokens: int) -> None:
    """Prints what every model says."""
    tokenizer = _tokenizer(next(iter(models.values())))
    # Models part from what they were compared with, which comes last.
    named = {name: models[name].model for name in reversed(models)}
    for row in side_by_side(named, prompts, new_tokens=new_tokens, stop=tokenizer.eos):
        shown = Table("model", tokenizer.decode(row.prompt).strip() or "(nothing)", "parts after")
        for name, continuation in row.continuations.items():
            text = tokenizer.decode([*row.prompt, *continuation])
            said = text.removeprefix(tokenizer.decode(row.prompt))
            after = row.parted[name]
            shown.add_row(Text(name), Text(said), "" if after is None else f"{after} tokens")
        out.print(shown)


def _write(options: Evaluate, parts: Cut, measured: Measured) -> None:
    """One row a window; sums over its tokens, in nats."""
    windows, found = parts.windows, measured.divergence
    first = next(iter(measured.perplexities))
    columns = {
        "schema_version": np.full(len(windows.counts), SCHEMA_VERSION),
        "model": options.model,
        "against": options.against,
        "text": parts.files,
        "tokens": windows.counts,
        "nll": measured.perplexities[first].nll,
    }
    if found is not None:
        columns |= {"reference_nll": found.reference_nll, "kl": found.kl, "agree": found.agree}
    path = Path(options.out or "")
    staged = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_parquet(staged, index=False)
        os.replace(staged, path)
    except OSError as error:
        raise DoptError(
            f"{path} cannot be written: {error.strerror or error}; name another file"
        ) from error


def with_error(value: float, error: float, digits: int, sign: str = "") -> str:
    """A number and its standard error, which one window does not have (NaN)."""
    shown = f"{value:{sign}.{digits}f}"
    return shown if np.isnan(error) else f"{shown} ± {error:.{digits}f}"
