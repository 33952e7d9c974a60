"""What a replay measured: for every run and record, time, steps, gradients, bits and progress."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dopt.results import Status


@dataclass(frozen=True, eq=False)
class Trace:
    """Measurements of R data seeds × G step sizes along one schedule, at M record points.

    `time` [s], `step`, `gradients`, `bits_up`, `bits_down` have shape (M,) and are totals over all
    workers; `value` f(x), `gap` f(x) − f* and `grad_norm2` ‖∇f(x)‖² have shape (R, G, M) and are
    NaN from the record on where a run has diverged. So is `accuracy`, the share of samples
    classified right, and everywhere where the problem has no classes. `x` (R, G, d) is the last
    model.
    """

    seeds: npt.NDArray[np.int64]
    step_sizes: npt.NDArray[np.float64]
    time: npt.NDArray[np.float64]
    step: npt.NDArray[np.int64]
    gradients: npt.NDArray[np.int64]
    bits_up: npt.NDArray[np.int64]
    bits_down: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    gap: npt.NDArray[np.float64]
    grad_norm2: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    x: npt.NDArray

    @property
    def diverged(self) -> npt.NDArray[np.bool_]:
        """Which runs ended in NaN or infinity, shape (R, G)."""
        return ~np.isfinite(self.grad_norm2[..., -1])

    def status(self, target: float | None = None) -> npt.NDArray[np.object_]:
        """How every run ended, as `Status`, shape (R, G); the target is one for ‖∇f(x)‖²."""
        reached = False if target is None else self.first_below(target) >= 0
        ends = np.array([Status.FINISHED, Status.DIVERGED, Status.TARGET_REACHED], object)
        return ends[np.where(reached, 2, self.diverged.astype(int))]

    def first_below(self, target: float) -> npt.NDArray[np.int64]:
        """The first record at which ‖∇f(x)‖² ≤ target, or −1 where it never is, shape (R, G)."""
        reached = self.grad_norm2 <= target
        return np.where(reached.any(-1), reached.argmax(-1), -1)
