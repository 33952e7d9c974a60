"""`dopt model get`, `list` and `run`."""

import sys
import time
from collections.abc import Iterable, Iterator

import jax
from rich.table import Table

from dopt.errors import ConfigurationError
from dopt.models import Sampling, Tokenizer, load, stream
from dopt.models.known import KNOWN, folder_of, get
from experiments.language.options_models import Get, ListModels, Run, Train
from experiments.terminal import out, say


def model_command(what: Get | ListModels | Run | Train) -> None:
    """One of the commands of `dopt model`.

    Raises:
        DoptError: what the command refuses.
    """
    if isinstance(what, Get):
        out.print(str(get(what.name, say)), soft_wrap=True)
    elif isinstance(what, ListModels):
        listing()
    elif isinstance(what, Run):
        run(what)
    else:
        from experiments.language.train import train_model

        train_model(what)


def listing() -> None:
    """Prints the known models."""
    table = Table("model", "what it is", "where it is")
    for name, model in KNOWN.items():
        path = folder_of(name) / model.file
        table.add_row(name, model.about, str(path) if path.exists() else "not fetched")
    out.print(table)


def run(options: Run) -> None:
    """Prints the prompt and what follows it, while it comes.

    Raises:
        ConfigurationError: a model without a tokenizer, an empty prompt where the model has no
            first token, or settings that cannot be.
    """
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    sampling = Sampling(options.temperature, options.top_k, options.top_p)
    begun = time.monotonic()
    model, tokenizer, name, note = load(options.model)
    if tokenizer is None:
        raise ConfigurationError(
            f"{name} has no tokenizer beside it; put its tokenizer.json or tokenizer.bin there"
        )
    front = [] if tokenizer.bos is None else [tokenizer.bos]
    tokens = front + tokenizer.encode(prompt)
    if not tokens:
        raise ConfigurationError("the prompt is empty, and the model has no first token")
    loaded = time.monotonic()
    drawn = stream(
        model,
        [tokens],
        new_tokens=options.new_tokens,
        sampling=sampling,
        key=jax.random.key(options.seed),
        stop=tokenizer.eos,
    )
    times: list[float] = []
    for piece in pieces(tokenizer, tokens, _timed(drawn, times)):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()
    say(_speed(loaded - begun, [moment - loaded for moment in times]))
    if note is not None:
        say(note)


def pieces(
    tokenizer: Tokenizer, prompt: list[int], drawn: Iterable[list[list[int]]]
) -> Iterator[str]:
    """The text of a prompt, then what each token adds to it.

    A character whose bytes are not all there yet is held back.
    """
    tokens = list(prompt)
    shown = tokenizer.decode(tokens)
    yield shown
    for (new,) in drawn:
        tokens += new
        text = tokenizer.decode(tokens)
        if not text.endswith("\ufffd"):
            yield text[len(shown) :]
            shown = text
    yield tokenizer.decode(tokens)[len(shown) :]


def _timed(drawn: Iterable[list[list[int]]], times: list[float]) -> Iterator[list[list[int]]]:
    for new in drawn:
        times.append(time.monotonic())
        yield new


def _speed(load: float, times: list[float]) -> str:
    line = f"loaded in {load:.1f} s, first token after {times[0]:.1f} s"
    if len(times) < 3:
        return line
    # The second token is slow: it compiles.
    return f"{line}, then {(len(times) - 2) / (times[-1] - times[1]):.1f} tokens/s"
