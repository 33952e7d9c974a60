"""Where a long command is."""

from typing import NamedTuple


class Advance(NamedTuple):
    """For a progress bar: `done` of `batches` are finished, and `share` of one that runs."""

    done: int
    batches: int
    share: float
    what: str
