"""Coupled: one engine step and one method step in the same loop, where sizes depend on values.

Messages whose size is known only when they are made (Kimad+ without padding, L-GreCo) change what
happens when, and so cannot be scheduled before they are replayed. Here a job is computed when it is
assigned, by the functions of the plain replay, and charged the bits of its packed arrays. One run
at a time, and slow: what a replay does for a grid of runs in one program, this does message by
message. What the server sends out is charged what the policy assigns.

The schedule that comes out can be replayed like any other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from dopt.costs import Costs
from dopt.methods import Method
from dopt.policies import Assign
from dopt.problems import Problem
from dopt.replay import record_steps
from dopt.replay.loop import measure
from dopt.replay.plain import check_workers, message_bits
from dopt.schedule import Listed
from dopt.trace import Trace
from simulators.observed import Observed, Running
from simulators.serving import ServingEngine
from simulators.timeline import checked


MOST_STEPS = 2**24
"""Steps for which records are planned."""

OnMessage = Callable[[int, int, Any], None]
"""Is given worker, job and packed messages."""


class Coupled(NamedTuple):
    """A coupled run: what happened when, and what it computed (one seed, one step size)."""

    observed: Observed
    trace: Trace


class _Engine(ServingEngine):
    """The event engine that computes what it hands out."""

    def __init__(
        self,
        problem: Problem,
        method: Method,
        costs: Costs,
        x: Float[Array, " d"],
        *,
        seed: int,
        timeline_seed: int,
        on_message: OnMessage | None,
    ) -> None:
        super().__init__(problem, method, costs, x, seed=seed, timeline_seed=timeline_seed)
        self.problem = problem
        self.memories = [self.method.init(x)[1]] * costs.n
        self.on_message = on_message
        self.records = set(record_steps(MOST_STEPS).tolist())
        self.measured: list[tuple[int, tuple[float, ...]]] = []
        self.record()

    def record(self) -> None:
        """Measures the model."""
        numbers = measure(self.problem, self.server.x[None, None])
        self.measured.append((self.version, tuple(float(number[0, 0]) for number in numbers)))

    def up_bits(self, assign: Assign, job: int) -> int:
        """Computes the job; the bits of one of its packed messages."""
        i = assign.worker
        asked = self.job([i, job, self.version, *assign[1:6], 1.0, self.version])
        self.memories[i], messages = self.functions.work(
            self.memories[i], self.read(), asked, self.version, run=self.data
        )
        if self.on_message is not None:
            self.on_message(i, job, messages)
        self.messages[i, job] = messages
        return message_bits(messages) // max(assign.messages, 1)

    def arrive(self) -> Running:
        """The job that arrives next; those that were dropped are forgotten."""
        arrived = super().arrive()
        worker = arrived.assign.worker
        self.messages = {
            (i, job): message
            for (i, job), message in self.messages.items()
            if i != worker or job >= arrived.job
        }
        return arrived

    def move(self, budget: int) -> None:
        """The server moves, and is measured."""
        super().move(budget)
        if self.version in self.records:
            self.record()

    def trace(self, schedule: Listed, seed: int, step_size: float) -> Trace:
        """What was measured, up to the last step of the schedule."""
        if self.measured[-1][0] < self.version:
            self.record()
        steps = np.array([step for step, _ in self.measured], np.int64)
        numbers = np.array([numbers for _, numbers in self.measured])
        value, norm2, accuracy = numbers.T[:, None, None]
        f_star = self.problem.f_star
        return Trace(
            seeds=np.array([seed]),
            step_sizes=np.array([step_size], float),
            time=schedule.time[steps],
            step=steps,
            gradients=schedule.steps.gradients[steps],
            bits_up=schedule.steps.bits_up[steps],
            bits_down=schedule.steps.bits_down[steps],
            value=value,
            gap=value - (np.nan if f_star is None else f_star.value),
            grad_norm2=norm2,
            accuracy=accuracy,
            x=np.asarray(self.server.x)[None, None],
        )


def coupled(
    problem: Problem,
    method: Method,
    costs: Costs,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    gradients: int | None = None,
    seed: int = 0,
    timeline_seed: int = 0,
    x0: Float[Array, " d"] | None = None,
    on_message: OnMessage | None = None,
) -> Coupled:
    """Runs a method on a cluster with every message charged its real size.

    Args:
        problem: what is minimized.
        method: the method, with its step size.
        costs: what the cluster charges, from `Cluster.costs`.
        steps: at most this many server steps.
        seconds: at most this much virtual time.
        gradients: at most this many stochastic gradients.
        seed: the data seed.
        timeline_seed: the seed of coins that change time or bits.
        x0: the starting point; the problem's own by default.
        on_message: called with worker, job and packed messages of every job.

    Raises:
        ConfigurationError: no limit, or another number of workers than the problem has.
        NoProgressError: the policy waits for ever before the first server step.
    """
    limits = checked(steps, seconds, gradients)
    check_workers(problem, costs.n)
    first = problem.start() if x0 is None else x0
    engine = _Engine(
        *(problem, method, costs, first),
        seed=seed,
        timeline_seed=timeline_seed,
        on_message=on_message,
    )
    observed = engine.simulate(limits)
    return Coupled(observed, engine.trace(observed.schedule, seed, float(method.step_size)))
