"""A live run: the method's own work on real workers in processes of Ray, with packed messages.

The driver runs the method's policy on real arrivals and records the schedule it lived. The plain
replay of that schedule (`dopt.replay.plain`) gives the live models bit for bit, because both call
the same compiled functions in the same order, with as many threads; where the driver computes on an
accelerator and the workers on processors, to rounding.

What travels up are the packed arrays of the messages, whose bytes are counted as they arrive, in a
pickle whose own bytes (names, types and shapes) are not counted: see `Live.envelope`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dopt.costs import Costs
from dopt.errors import ConfigurationError, InterruptedRunError, NoProgressError
from dopt.methods import Method
from dopt.problems import Problem
from dopt.replay.plain import check_workers
from dopt.results import Status
from dopt.schedule import Listed
from simulators.live.crew import Crew
from simulators.live.driver import Driver
from simulators.ray_session import import_ray


PATIENCE = 60.0


@dataclass(frozen=True, eq=False)
class Live:
    """What was lived, up to the last server step.

    Attributes:
        schedule: who did what; its ticks are real time since the first job was handed out.
        models: x⁰, ..., x^K.
        received: of each arrival of the schedule, the bits of the arrays that came: those that the
            schedule counts, but for padding (Kimad+) and for what was lost on the way (`Lossy`).
        status: finished, no progress (the reason names the silent workers), or interrupted.
        reason: why it ended early, in a sentence.
        seconds: real seconds from the first job to the end, start-up apart.
        starting: real seconds until all processes had started, and compiled the first jobs.
        memory: peak resident memory of each process in bytes; `None` of one that did not answer.
        envelope: bytes of the first answer as it was packed, without those of its arrays.
    """

    schedule: Listed
    models: list[Float[Array, " d"]]
    received: npt.NDArray[np.int64]
    status: Status
    reason: str | None
    seconds: float
    starting: float
    memory: tuple[int | None, ...]
    envelope: int

    @property
    def processes(self) -> int:
        """The number of processes that shared the workers."""
        return len(self.memory)

    @property
    def memory_per_worker(self) -> float:
        """Bytes of memory for each worker, of the processes that told; NaN where none did."""
        n, count = self.schedule.n, self.processes
        told = [(m, len(range(j, n, count))) for j, m in enumerate(self.memory) if m is not None]
        workers = sum(shared for _, shared in told)
        return sum(m for m, _ in told) / workers if workers else float("nan")


def live(
    problem: Problem,
    method: Method,
    costs: Costs,
    *,
    steps: int,
    seed: int = 0,
    timeline_seed: int = 0,
    seconds_scale: float = 0.0,
    processes: int | None = None,
    patience: float = PATIENCE,
    stopping: Callable[[], bool] = lambda: False,
    on_step: Callable[[int], None] = lambda k: None,
) -> Live:
    """Runs a method on real workers, on a Ray that this process has joined.

    Workers share processes, spread over the machines by their processors. A worker whose process
    dies never answers any more, like one whose time is infinite: a method that can do without goes
    on, and otherwise the run ends with the status `no_progress`. So it does when workers hang.
    Where a policy interrupts workers, nothing that they had done is counted.

    Args:
        problem: what is minimized; every process holds it.
        method: the method, with its step size.
        costs: what the cluster would charge; its seconds are injected as delays.
        steps: server steps.
        seed: the data seed.
        timeline_seed: the seed of coins that change time or bits.
        seconds_scale: real seconds per virtual second; 0 lets workers answer as fast as they can.
        processes: at most so many; by default twice the processors of the cluster. The workers of
            one compute in turns, with as many threads as this process does.
        patience: real seconds without an answer, once one is due, after which the run ends.
        stopping: asked several times a second; True ends the run with the status `interrupted`.
        on_step: called with k when model xᵏ is there.

    Returns:
        What was lived, even where it ended early.

    Raises:
        ConfigurationError: no server step or no process, a bad scale or patience, the problem has
            data for another number of workers, or Ray has not been joined.
        DoptError: a process did not start.
    """
    if steps < 1:
        raise ConfigurationError(f"steps = {steps}; a live run takes at least one server step")
    if not 0 <= seconds_scale < np.inf:
        raise ConfigurationError(
            f"seconds_scale = {seconds_scale}; give real seconds per virtual second, or 0"
        )
    if not patience > 0:
        raise ConfigurationError(f"patience = {patience} s; give a positive number of seconds")
    check_workers(problem, costs.n)
    if not import_ray().is_initialized():
        raise ConfigurationError(
            "Ray is not running; use `with simulators.ray_session.session():`, or call "
            "ray.init(address='local') before"
        )
    driver = Driver(
        *(problem, method, costs),
        seed=seed,
        timeline_seed=timeline_seed,
        scale=seconds_scale,
        patience=patience,
        stopping=stopping,
        on_step=on_step,
    )
    entered = time.monotonic()
    crew = Crew(
        *(problem, driver.method, driver.first, driver.read()),
        n=costs.n,
        seed=seed,
        processes=processes,
    )
    status, reason = Status.FINISHED, None
    try:
        try:
            driver.live(crew, steps)
        except NoProgressError as error:
            status, reason = Status.NO_PROGRESS, str(error)
        except InterruptedRunError as error:
            status, reason = Status.INTERRUPTED, str(error)
        seconds = time.monotonic() - driver.begun
    finally:
        memory = crew.end()
    schedule = driver.schedule(reason if status is Status.NO_PROGRESS else None)
    return Live(
        schedule=schedule,
        models=driver.models,
        received=np.array(driver.wire[: len(schedule.arrivals.step)], np.int64),
        status=status,
        reason=reason,
        seconds=seconds,
        starting=driver.begun - entered,
        memory=memory,
        envelope=driver.envelope,
    )
