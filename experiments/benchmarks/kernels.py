"""`dopt bench kernels`: bandwidth of every kernel, beside a copy of as many bytes in the same run.

Everything runs in one process, and rivals take turns: in each of nine turns every one is called
until its time can be measured, with the order rotated from turn to turn. On a GPU calls are queued
and the last is waited for; on a CPU each is. The copy reads and writes as many bytes as the kernel.

It needs JAX, numpy, scipy and jaxtyping alone, and runs without the command too:

    python -m experiments.benchmarks.kernels --json rows.json
"""

import argparse
import importlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from compressors.kernels.backend import preferred
from experiments.benchmarks.kernel_jobs import JOBS, LEAST, Job
from experiments.benchmarks.machine import machine, memory
from experiments.benchmarks.pairs import PAIRS, Ratio, ratio


SIZES = {"cpu": (1 << 16, 1 << 20, 1 << 24)}
SIZES_OF_A_GPU = tuple(1 << bits for bits in (20, 22, 24, 26, 28, 30))

LONGEST = 20.0
"""Seconds that the turns of one row may take where no kernel is named."""

SHORTEST = 2e-3
"""Seconds that a measurement takes at least, by repetition."""

MEMORY_SHARE = 0.25
"""Of the memory that one program may ask for."""


class _Left(Exception):
    """Why a row is left out."""


FAILURES = _Left, NotImplementedError, jax.errors.JaxRuntimeError
"""What leaves out a row and lets the others go on: no kernel, no memory, no compiled program."""


class Rival(NamedTuple):
    """A call, and how to wait for what it returned."""

    call: Callable[[], Any]
    wait: Callable[[Any], Any] = jax.block_until_ready
    queues: bool = False


def bench(
    names: Sequence[str],
    sizes: Sequence[int],
    file: Path | None,
    out: Callable[[str], None],
    say: Callable[[str], None],
) -> None:
    """Measures, prints the table, and writes the rows to `file` as JSON.

    Args:
        names: of kernels, or beginnings; all by default, and then what would take more than
            `LONGEST` is left out.
        sizes: how many numbers or codes, powers of two; by default some that suit the device.
        file: where the rows go besides.
        out: takes the table and the lines below it.
        say: takes a line of progress.

    Raises:
        ConfigurationError: an unknown name, or a size that is no power of two or too small.
    """
    chosen = _select(names)
    _check(sizes)
    longest = math.inf if names else LONGEST
    rows: list[dict[str, Any]] = []
    left: list[str] = []
    for size in sizes or SIZES.get(jax.default_backend(), SIZES_OF_A_GPU):
        for index, name in enumerate(chosen):
            say(f"[{index + 1}/{len(chosen)}] {size:,}: {name}")
            try:
                rows.append({"kernel": name, "size": size} | _measure(JOBS[name], size, longest))
            except FAILURES as reason:
                left.append(f"{name}, {size:,}, left out: {_first_line(reason)}")
            if file is not None:
                file.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    out(table(rows))
    for row in rows:
        left += [
            f"{row['kernel']}, {row['size']:,}, {by}: {why}" for by, why in row["failed"].items()
        ]
    for line in left:
        out(line)
    out(", ".join(f"{key} {value}" for key, value in machine().items()))


def _select(names: Sequence[str]) -> list[str]:
    for name in names:
        if not any(known.startswith(name) for known in JOBS):
            raise _wrong(
                f"no kernel is called {name!r}; there are {'; '.join(JOBS)}; the beginning of a "
                "name stands for all that begin so"
            )
    return [known for known in JOBS if not names or known.startswith(tuple(names))]


def _check(sizes: Sequence[int]) -> None:
    for size in sizes:
        if size < LEAST or size & (size - 1):
            raise _wrong(f"size = {size}: give powers of two of at least {LEAST}")


def _wrong(message: str) -> Exception:
    from dopt.errors import ConfigurationError

    return ConfigurationError(message)


def _measure(make: Callable[[int], Job], size: int, longest: float) -> dict[str, Any]:
    """The row of a job, without its name.

    Raises:
        _Left: it takes too long, or too much memory.
        NotImplementedError: the kernel does not serve it.
    """
    if size * np.dtype(np.float32).itemsize > MEMORY_SHARE * memory():
        raise _Left("too large for the memory")
    job = make(size)
    backend = preferred(job.operation)
    moved = _bytes_moved(job)
    rivals = {"kernel": _compiled(partial(job.run, backend=backend), job.arrays)}
    rivals["copy"] = _compiled(jnp.copy, (jnp.zeros(moved // 2, jnp.uint8),))
    others = {"xla", "mosaic"} & set(job.operation.forms) - {backend}
    if jax.default_backend() == "cpu":
        others.clear()
    failed = {}
    for other in sorted(others):
        try:
            rivals[other] = _compiled(partial(job.run, backend=other), job.arrays)
        except FAILURES as reason:
            failed[other] = _first_line(reason)
    for what, (function, arrays) in job.besides.items():
        rivals[what] = _compiled(function, arrays)
    rivals |= _arrays_alone(job)
    once = {rival: _seconds(rivals[rival], 1) for rival in rivals}
    if (expected := PAIRS * sum(max(one, SHORTEST) for one in once.values())) > longest:
        raise _Left(f"{expected:.0f} s")
    times = _turns(rivals, once)
    seconds = float(np.median(times["kernel"]))
    row: dict[str, Any] = {"backend": backend, "bytes": moved, "pairs": PAIRS, "failed": failed}
    row |= {"seconds": seconds, "gigabytes_per_second": moved / seconds / 1e9}
    row["rivals"] = {
        rival: {"seconds": float(np.median(times[rival]))}
        | ratio(times["kernel"], times[rival])._asdict()
        for rival in rivals
        if rival != "kernel"
    }
    return row


def _first_line(reason: Exception) -> str:
    return str(reason).partition("\n")[0]


def _bytes_moved(job: Job) -> int:
    """Of the arrays that are read and written, once each."""
    written = jax.eval_shape(partial(job.run, backend="xla"), *job.arrays)
    arrays = [*job.arrays, *jax.tree.leaves(written)]
    return sum(array.size * array.dtype.itemsize for array in arrays)


def _compiled(function: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> Rival:
    """A compiled program, called once.

    Raises:
        _Left: it asks for more than `MEMORY_SHARE` of the memory.
    """
    program = jax.jit(function).lower(*arrays).compile()
    sizes = program.memory_analysis()
    if sizes is not None:
        needed = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
        needed += sizes.temp_size_in_bytes
        if needed > MEMORY_SHARE * memory():
            raise _Left(f"{needed / 2**30:.1f} GiB")
    rival = Rival(lambda: program(*arrays), queues=jax.default_backend() != "cpu")
    rival.wait(rival.call())
    return rival


def _arrays_alone(job: Job) -> dict[str, Rival]:
    """The version with arrays alone: by numpy on a CPU, by CuPy on a GPU that has it."""
    if job.plain is None:
        return {}
    if jax.default_backend() == "cpu":
        arrays = [np.asarray(array) for array in job.arrays]
        return {"numpy": Rival(partial(job.plain, np, *arrays))}
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return {}
    given = [cupy.asarray(np.asarray(array)) for array in job.arrays]
    wait = cupy.cuda.get_current_stream().synchronize
    return {"CuPy": Rival(partial(job.plain, cupy, *given), lambda _: wait(), queues=True)}


def _seconds(rival: Rival, repeats: int) -> float:
    """Seconds of one of so many calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        result = rival.call()
        if not rival.queues:
            rival.wait(result)
    rival.wait(result)
    return (time.perf_counter() - start) / repeats


def _turns(rivals: dict[str, Rival], once: dict[str, float]) -> dict[str, list[float]]:
    """Seconds of every rival in every turn."""
    repeats = {rival: max(1, math.ceil(SHORTEST / seconds)) for rival, seconds in once.items()}
    order = list(rivals)
    times: dict[str, list[float]] = {rival: [] for rival in order}
    for turn in range(PAIRS):
        for place in range(len(order)):
            rival = order[(turn + place) % len(order)]
            times[rival].append(_seconds(rivals[rival], repeats[rival]))
    return times


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text: the kernel's bandwidth, and how many times as fast as each rival it is."""
    others = list(dict.fromkeys(rival for row in rows for rival in row["rivals"]))
    heads = ["kernel", "size", "by", "MB", "ms", "GB/s", "% of a copy"]
    heads += [f"{rival} ×" for rival in others if rival != "copy"]
    cells = [heads]
    for row in rows:
        copy = Ratio(*(row["rivals"]["copy"][field] for field in Ratio._fields))
        line = [
            row["kernel"],
            f"{row['size']:,}",
            row["backend"],
            f"{row['bytes'] / 1e6:.4g}",
            f"{1e3 * row['seconds']:.4g}",
            f"{row['gigabytes_per_second']:.4g}",
            f"{100 * copy.median:.0f} ({100 * copy.low:.0f} to {100 * copy.high:.0f})",
        ]
        cells.append([*line, *(_beside(row, rival) for rival in others if rival != "copy")])
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _beside(row: dict[str, Any], rival: str) -> str:
    if rival not in row["rivals"]:
        return ""
    compared = Ratio(*(row["rivals"][rival][field] for field in Ratio._fields))
    return f"{compared.median:.2g} ({compared.low:.2g} to {compared.high:.2g})"


def main() -> None:
    """`python -m experiments.benchmarks.kernels [NAME ...] [--sizes N ...] [--json FILE]`."""
    parser = argparse.ArgumentParser(description="Bandwidth of every kernel, beside a copy.")
    parser.add_argument("names", nargs="*", help="kernels, or beginnings of names; all by default")
    parser.add_argument("--sizes", nargs="*", type=int, default=(), help="powers of two")
    parser.add_argument("--json", type=Path, help="a file for the rows, besides the table")
    given = parser.parse_args()
    bench(given.names, given.sizes, given.json, _line(sys.stdout), _line(sys.stderr))


def _line(stream: Any) -> Callable[[str], None]:
    def write(text: str) -> None:
        stream.write(text + "\n")
        stream.flush()

    return write


if __name__ == "__main__":
    main()
