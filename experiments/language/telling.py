"""Progress of a command that does several long jobs, one after another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from dopt.evaluation.steps import OnProgress
from experiments.advance import Advance
from experiments.terminal import progress


Tell = Callable[[str], OnProgress]
"""Gives what is told (done, total) of the progress of a job of this name."""


@contextmanager
def telling(quiet: bool, jobs: int) -> Iterator[Tell]:
    """A progress bar, or lines, over `jobs` jobs."""
    with progress(quiet) as on_advance:
        begun = count()

        def tell(what: str) -> OnProgress:
            job = next(begun)
            return lambda done, total: on_advance(Advance(job, jobs, done / total, what))

        yield tell
