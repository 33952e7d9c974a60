"""`dopt bench compressors`: encode and decode, beside plain numpy and beside a copy of the vector.

Everything runs in one process, and rivals take turns: in each of nine turns every one is called
until its time can be measured, with the order rotated from turn to turn. Vectors are float32 and
normal; numpy serves 100 workers by a loop over them.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from rich.console import Console
from rich.table import Table

from compressors import Compressor, Joint
from dopt.errors import ConfigurationError
from experiments.benchmarks.numpy_compressors import plain
from experiments.benchmarks.pairs import PAIRS, Ratio, ratio
from experiments.benchmarks.simulator import machine
from experiments.operators import MEMBERS, named
from theory_checks.catalogue import JOINTS, OPERATORS


WORKERS = 100
"""Workers whose vectors are compressed at once."""

LONGEST = 2.5
"""Seconds that the turns of one row may take where no operator is named."""

SHORTEST = 2e-3
"""Seconds that a measurement takes at least, by repetition."""

MEMORY = 4 << 30
"""Bytes that a compiled program may ask for."""

OURS = ("encode", "decode", "both")

Operator = Compressor | Joint


class Cell(NamedTuple):
    """So many vectors at once, of this dimension."""

    d: int
    workers: int

    @property
    def title(self) -> str:
        """In words."""
        return f"d = {self.d:,}" + (f", {self.workers} workers" if self.workers > 1 else "")


class _Left(Exception):
    """Why an operator is left out of a cell."""


def bench(
    names: Sequence[str],
    dims: Sequence[int],
    file: Path | None,
    out: Console,
    say: Callable[[str], None],
) -> None:
    """Measures, prints the table, and writes the rows to `file` as JSON.

    Args:
        names: operators of the catalogue, or beginnings; all by default, and then what would take
            more than `LONGEST` is left out.
        dims: the dimensions, each measured for one vector and for those of 100 workers.
        file: where the rows go besides.
        out: where the table goes.
        say: takes a line of progress.

    Raises:
        ConfigurationError: an unknown name, or a dimension below 1.
    """
    chosen = named(names, [*OPERATORS, *JOINTS])
    if not dims or min(dims) < 1:
        raise ConfigurationError(f"dims = {tuple(dims)}: give dimensions of at least 1")
    longest = math.inf if names else LONGEST
    cells = [Cell(d, workers) for d in sorted(set(dims)) for workers in (1, WORKERS)]
    rows: list[dict[str, Any]] = []
    left: dict[Cell, list[str]] = {}
    last: dict[str, tuple[int, float]] = {}
    for cell in cells:
        size = cell.d * cell.workers
        if 4 * size > MEMORY // 4:
            left[cell] = [f"all: the vectors take {4 * size / 2**30:.1f} GiB"]
            continue
        x = np.random.default_rng(0).standard_normal(size, np.float32)
        for index, name in enumerate(chosen):
            say(f"[{index + 1}/{len(chosen)}] {cell.title}: {name}")
            try:
                before, seconds = last.get(name, (size, 0.0))
                if (about := seconds * size / before) > longest:
                    raise _Left(f"about {about:.0f} s")
                row, last[name] = _measure(name, cell, x, longest)
                rows.append(row)
            except (_Left, ValueError) as reason:
                left.setdefault(cell, []).append(f"{name} ({reason})")
            if file is not None:
                file.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    out.print(_table(rows))
    for cell, reasons in left.items():
        out.print(f"{cell.title}, left out: {'; '.join(reasons)}", soft_wrap=True)
    out.print(", ".join(f"{key} {value}" for key, value in machine().items()), soft_wrap=True)


def _measure(
    name: str, cell: Cell, x: np.ndarray, longest: float
) -> tuple[dict[str, Any], tuple[int, float]]:
    """The row of an operator; the size of the vectors, and seconds of the turns without repeats."""
    d, workers = cell
    operator = OPERATORS[name](d) if name in OPERATORS else JOINTS[name](d, MEMBERS)
    operator.check(d, MEMBERS) if isinstance(operator, Joint) else operator.check(d)
    rivals = _ours(operator, cell, jnp.asarray(x.reshape(workers, d))) | _theirs(operator, cell, x)
    once = {rival: _seconds(call, 1) for rival, call in rivals.items()}
    if (expected := PAIRS * sum(max(one, SHORTEST) for one in once.values())) > longest:
        raise _Left(f"{expected:.0f} s")
    times = _turns(rivals, once)
    row: dict[str, Any] = {"operator": name, "d": d, "workers": workers, "pairs": PAIRS}
    row |= {f"{rival}_s": float(np.median(seconds)) for rival, seconds in times.items()}
    for what in OURS:
        row[f"{what}_copies"] = ratio(times["copy"], times[what]).median
    if "numpy encode" in times:
        times["numpy both"] = [
            a + b for a, b in zip(times["numpy encode"], times["numpy decode"], strict=True)
        ]
        for what in OURS:
            row[f"{what}_numpy"] = ratio(times[what], times[f"numpy {what}"])._asdict()
    return row, (d * workers, PAIRS * sum(min(seconds) for seconds in times.values()))


def _ours(
    operator: Operator, cell: Cell, x: Float[Array, "workers d"]
) -> dict[str, Callable[[], Any]]:
    """Our compiled programs and the copy, ready to be called.

    Raises:
        _Left: they ask for more than `MEMORY`.
    """
    d = cell.d
    keys = jax.random.split(jax.random.key(0), cell.workers)
    coin, ranks = jax.random.key(1), jnp.arange(cell.workers, dtype=jnp.int32) % MEMBERS

    def member(coin: Array, rank: Array) -> Compressor:
        if isinstance(operator, Joint):
            return operator.member(coin=coin, rank=rank, n=MEMBERS)
        return operator

    def encode(x: Array, key: Array, rank: Array, coin: Array) -> Any:
        return member(coin, rank).encode(x, key=key)

    def decode(message: Any, key: Array, rank: Array, coin: Array) -> Array:
        return member(coin, rank).decode(message, key=key, d=d)

    def both(x: Array, key: Array, rank: Array, coin: Array) -> Array:
        return decode(encode(x, key, rank, coin), key, rank, coin)

    def compiled(function: Callable[..., Any], first: Any) -> Callable[[], Any]:
        args = (first, keys, ranks, coin)
        if cell.workers == 1:
            args = (*jax.tree.map(lambda a: a[0], args[:3]), coin)
        else:
            function = jax.vmap(function, in_axes=(0, 0, 0, None))
        program = jax.jit(function).lower(*args).compile()
        if (needed := _bytes(program)) > MEMORY:
            raise _Left(f"{needed / 2**30:.1f} GiB")
        return lambda: program(*args)

    sent = compiled(encode, x)
    message = sent()
    stacked = message if cell.workers > 1 else jax.tree.map(lambda a: a[None], message)
    copy = jax.jit(jnp.copy).lower(x).compile()
    return {
        "encode": sent,
        "decode": compiled(decode, stacked),
        "both": compiled(both, x),
        "copy": lambda: copy(x),
    }


def _bytes(program: jax.stages.Compiled) -> int:
    """What a program asks for, as far as the backend tells."""
    sizes = program.memory_analysis()
    if sizes is None:
        return 0
    total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return int(total)


def _theirs(operator: Operator, cell: Cell, x: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The numpy version, where there is one, a worker after the other."""
    rival = plain(operator)
    if rival is None:
        return {}
    rows = x.reshape(cell.workers, cell.d)
    messages = [rival.encode(row, seed) for seed, row in enumerate(rows)]

    def encode() -> Any:
        return [rival.encode(row, seed) for seed, row in enumerate(rows)]

    def decode() -> Any:
        return [rival.decode(message, seed, cell.d) for seed, message in enumerate(messages)]

    return {"numpy encode": encode, "numpy decode": decode}


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of one of so many calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return (time.perf_counter() - start) / repeats


def _turns(rivals: dict[str, Callable[[], Any]], once: dict[str, float]) -> dict[str, list[float]]:
    """Seconds of every rival in every turn."""
    repeats = {rival: max(1, math.ceil(SHORTEST / seconds)) for rival, seconds in once.items()}
    order = list(rivals)
    times: dict[str, list[float]] = {rival: [] for rival in order}
    for turn in range(PAIRS):
        for place in range(len(order)):
            rival = order[(turn + place) % len(order)]
            times[rival].append(_seconds(rivals[rival], repeats[rival]))
    return times


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    title = "Milliseconds, multiples of a copy of the vectors, and how many times as fast as numpy"
    table = Table(title=title, title_justify="left")
    table.add_column("operator")
    for header in ("d", "workers", "encode", "decode", "both", "of a copy", "numpy", "times"):
        table.add_column(header, justify="right")
    table.add_column("95 %")
    ordered = sorted(rows, key=lambda row: row["operator"])
    for index, row in enumerate(ordered):
        first = index == 0 or ordered[index - 1]["operator"] != row["operator"]
        last = index + 1 == len(ordered) or ordered[index + 1]["operator"] != row["operator"]
        beside = ("", "", "")
        if "both_numpy" in row:
            compared = Ratio(**row["both_numpy"])
            rival = row["numpy encode_s"] + row["numpy decode_s"]
            interval = f"{compared.low:.2g} to {compared.high:.2g}"
            beside = (_milliseconds(rival), f"{compared.median:.2g}x", interval)
        table.add_row(
            row["operator"] if first else "",
            f"{row['d']:,}",
            str(row["workers"]),
            *(_milliseconds(row[f"{what}_s"]) for what in OURS),
            " / ".join(f"{row[f'{what}_copies']:.1f}" for what in OURS),
            *beside,
            end_section=last,
        )
    return table


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"
