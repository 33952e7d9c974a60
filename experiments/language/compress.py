"""`dopt compress`: a language model in few bits, in a folder."""

import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from compressors.weights import WeightQuantizer
from dopt.compression.budget import Allocation, dynamic, uniform
from dopt.compression.compress import How, compress, name_of
from dopt.compression.folder import Records, load_compressed
from dopt.errors import DoptError
from dopt.evaluation import against, reference
from dopt.evaluation.steps import Stopping
from dopt.models import Config, load, parameter_count
from dopt.models.decoder import INPUT_OF
from dopt.models.load import Loaded
from dopt.models.parameters import linear_paths, parameter_shapes
from experiments.language.alpha import Alpha, alpha_of
from experiments.language.options_compress import Compress
from experiments.language.telling import Tell, telling
from experiments.language.tokens import calibration
from experiments.memory import peak_memory
from experiments.terminal import out, signals


MOST = 3
"""Settings of one kind of matrix that are listed."""

ADDITIVE = 1.25
"""How far what is measured may be from its prediction, as a factor, to be called additive."""

_TOLD = ("p", "n", "bits", "group", "symmetric", "signs")


def compress_command(options: Compress) -> None:
    """Compresses, prints, and with --dynamic measures and draws.

    Raises:
        ConfigurationError: settings that cannot be, or a folder of others.
        DataError: a model or a text that cannot be read.
        InterruptedRunError: the user asked to stop.
        DoptError: the folder cannot be written.
    """
    begun = time.monotonic()
    loaded = load(options.model)
    with (
        signals() as stopping,
        telling(options.compression.quiet, 3 if options.dynamic else 1) as tell,
    ):
        alpha, allocation = _allocation(options, loaded, tell, stopping)
        how = How(
            allocation.quantizers,
            calibration(options.compression, loaded),
            options.compression.outside,
        )
        manifest = compress(
            loaded, how, options.out, on_progress=tell("compressing"), stopping=stopping
        )
        seconds, memory = time.monotonic() - begun, peak_memory()
        said = [] if alpha is None else list(_predicted(options, loaded, alpha, manifest, tell))
    config = loaded.model.config
    out.print(table(config, manifest["matrices"]))
    said += [] if loaded.note is None else [loaded.note]
    for line in [*lines(config, options.out, manifest, seconds, memory), *said]:
        out.print(line, soft_wrap=True)
    if alpha is not None:
        for path in _kept(config, options.out, alpha, manifest):
            out.print(str(path), soft_wrap=True)


def wanted(p: int | None, group: int | None, quantizer: WeightQuantizer) -> bool:
    """Whether settings are those asked for; None asks for nothing."""
    return all(
        asked is None or getattr(quantizer, name, None) == asked
        for name, asked in (("p", p), ("group", group))
    )


def table(config: Config, matrices: Records) -> Table:
    """A row for each kind of matrix: settings, bits and t²; damping where H needed more of it."""
    shapes, damped = parameter_shapes(config), any(r["tries"] > 1 for r in matrices.values())
    shown = Table("matrices", "shape", "settings", "bits a weight", "t²")
    if damped:
        shown.add_column("damping")
    for kind in INPUT_OF:
        out_, inputs = shapes["layers", 0, kind]
        records = [record for name, record in matrices.items() if name.endswith(f".{kind}")]
        settings = list(dict.fromkeys(settings_of(record["quantizer"]) for record in records))
        more = [] if len(settings) <= MOST else [f"and {len(settings) - MOST} more"]
        cells = [
            kind,
            f"{out_} x {inputs}",
            "\n".join(settings[:MOST] + more),
            _span([record["bits"] / (out_ * inputs) for record in records], "{:.3f}"),
            _span([record["error"] for record in records], "{:.5f}"),
        ]
        if damped:
            cells.append(_span([record["damping"] for record in records], "{:g}"))
        shown.add_row(*cells)
    return shown


def lines(
    config: Config, folder: Path, manifest: dict[str, Any], seconds: float, memory: int
) -> Iterator[str]:
    """Totals."""
    bits, shapes = manifest["bits"], parameter_shapes(config)
    weights = sum(math.prod(shapes[place]) for place in linear_paths(config))
    numbers = parameter_count(config)
    size = sum(mark["bytes"] for mark in manifest["files"].values())
    yield (
        f"{bits['matrices'] / weights:.4f} bits a weight over the matrices of the layers, "
        f"{bits['model'] / numbers:.4f} over all {numbers / 1e6:.1f} million numbers"
    )
    yield (
        f"{folder}: {size / 1e6:.1f} MB on disk, {seconds:.0f} s, peak memory of this process "
        f"{memory / 1e9:.2f} GB (the model in float32: {4 * numbers / 1e9:.2f} GB)"
    )


def settings_of(quantizer: dict[str, Any]) -> str:
    """Such as "HIGGS p=2, n=256"."""
    told = [f"{name}={quantizer[name]}" for name in _TOLD if quantizer.get(name) is not None]
    return f"{quantizer['method']} {', '.join(told)}".rstrip()


def _allocation(
    options: Compress, loaded: Loaded, tell: Tell, stopping: Stopping
) -> tuple[Alpha | None, Allocation]:
    config = loaded.model.config
    asked = partial(wanted, options.p, options.compression.group)
    if not options.dynamic:
        return None, uniform(config, options.method, options.bits, asked)
    # What cannot be is said before minutes are spent.
    uniform(config, options.method, options.bits, asked)
    file = options.out / "alpha.jsonl"
    alpha = alpha_of(
        options.compression, loaded, file, tell("measuring α"), stopping, options.metric
    )
    given = alpha.linearity.alpha
    return alpha, dynamic(config, options.method, options.bits, given, asked)


def _predicted(
    options: Compress, loaded: Loaded, alpha: Alpha, manifest: dict[str, Any], tell: Tell
) -> Iterator[str]:
    """The linear prediction beside what is measured on the same tokens."""
    once = reference(loaded.model, alpha.windows)
    model = load_compressed(options.out).model
    found = against(model, once, on_progress=tell("measuring what came of it"))
    errors = {
        place: manifest["matrices"][name_of(place)]["error"] for place in alpha.linearity.alpha
    }
    predicted = alpha.linearity.predicted(errors)
    tokens = f"on {found.counts.sum():,} {options.compression.alpha} tokens"
    if alpha.linearity.metric == "kl":
        ratio = found.mean / predicted
        yield (
            f"KL {tokens}: {predicted:.5f} nats a token predicted by Σ α·t², {found.mean:.5f} "
            f"measured, {ratio:.2f} times as much"
        )
        if not 1 / ADDITIVE < ratio < ADDITIVE:
            yield (
                "losses of single matrices do not add up here: together the errors are no small "
                "ones; the budget needs the order of α alone"
            )
    else:
        before, after = found.reference_perplexity.value, found.perplexity.value
        yield (
            f"perplexity {tokens}: {before:.3f} {predicted:+.3f} predicted by Σ α·t², "
            f"{alpha.first_order(errors):+.3f} in first order, {after - before:+.3f} measured"
        )


def _kept(config: Config, folder: Path, alpha: Alpha, manifest: dict[str, Any]) -> list[Path]:
    """Writes α, bits and errors as a table, and the figure of them."""
    import pandas as pd

    from experiments.language.bits_figure import draw_bits

    shapes = parameter_shapes(config)
    chosen = [
        {
            "bits": record["bits"] / math.prod(shapes[place]),
            "error": record["error"],
            "settings": settings_of(record["quantizer"]),
        }
        for place, record in zip(linear_paths(config), manifest["matrices"].values(), strict=True)
    ]
    rows = pd.DataFrame([a | b for a, b in zip(alpha.table(), chosen, strict=True)])
    path = folder / "alpha.csv"
    try:
        rows.to_csv(path, index=False)
        return [path, *draw_bits(rows, folder / "bits")]
    except OSError as error:
        raise DoptError(f"{error.filename or path} cannot be written: {error.strerror}") from error


def _span(values: list[float], form: str) -> str:
    """The least and the largest, or the one there is."""
    ends = dict.fromkeys(form.format(value) for value in (min(values), max(values)))
    return " – ".join(ends)
