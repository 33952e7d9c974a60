"""What a person at a terminal sees of a command, and how he stops it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.advance import Advance


PLAIN: Any = {"highlight": False, "markup": False, "emoji": False}
"""Names of files and clusters are printed as they are, whatever brackets and colons they hold."""

out = Console(width=None if os.isatty(1) else 160, **PLAIN)
err = Console(stderr=True, **PLAIN)


def say(line: str) -> None:
    """A line of progress."""
    err.print(line, soft_wrap=True)


@contextmanager
def signals() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGINT or SIGTERM into a request to stop; a second one quits at once."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(130)
        asked = True

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[Advance], None]]:
    """A progress bar on standard error where that is a terminal, else a line a batch."""
    if quiet:
        yield lambda advance: None
    elif not err.is_terminal:
        yield _lines()
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("", total=1.0)

            def on_advance(advance: Advance) -> None:
                share = (advance.done + advance.share) / advance.batches
                progress.update(task, description=advance.what, completed=share)

            yield on_advance


def _lines() -> Callable[[Advance], None]:
    """Progress for a log file: one line when a batch begins, or several were finished elsewhere."""
    last, first, begun = -1, 0, time.monotonic()

    def on_advance(advance: Advance) -> None:
        nonlocal last, first
        if advance.done == last:
            return
        if last < 0:
            first = advance.done
        last = advance.done
        line = f"[{advance.done + 1}/{advance.batches}] {advance.what}"
        if last > first:
            each = (time.monotonic() - begun) / (last - first)
            line += f", {duration(each * (advance.batches - last))} left"
        err.print(line, soft_wrap=True)

    return on_advance


def duration(seconds: float) -> str:
    """About how long: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
