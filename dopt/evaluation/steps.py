"""A long job in steps: what is done of it, and whether to stop."""

from collections.abc import Callable

from dopt.errors import InterruptedRunError


OnProgress = Callable[[int, int], None]
"""Told after every step how many are done, and of how many."""
Stopping = Callable[[], bool]
"""Asked after every step; True ends the job."""


class Steps:
    """Counts the steps of a job.

    Args:
        total: how many there will be.
        on_progress: told (done, total).
        stopping: whether the user has asked to stop.
        kept: what is said of the work so far where he has.
    """

    def __init__(
        self,
        total: int,
        on_progress: OnProgress | None = None,
        stopping: Stopping | None = None,
        kept: str = "nothing is kept of what was measured",
    ) -> None:
        self.done, self.total = 0, total
        self._on_progress, self._stopping, self._kept = on_progress, stopping, kept

    def step(self, count: int = 1) -> None:
        """One more is done, or several.

        Raises:
            InterruptedRunError: the user has asked to stop.
        """
        self.done += count
        if self._on_progress is not None:
            self._on_progress(self.done, self.total)
        if self._stopping is not None and self.done < self.total and self._stopping():
            raise InterruptedRunError(f"stopped on request; {self._kept}")
