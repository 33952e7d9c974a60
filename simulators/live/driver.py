"""The server's side of a live run: the policy's actions on real workers, and their real answers."""

import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dopt.costs import Costs
from dopt.errors import InterruptedRunError, NoProgressError
from dopt.methods import Method
from dopt.policies import Assign
from dopt.problems import Problem
from dopt.replay.plain import message_bits
from dopt.schedule import Listed
from simulators.events import INFINITE, Limits
from simulators.live.crew import Crew
from simulators.observed import Running
from simulators.ray_session import import_ray
from simulators.serving import PHASE, ServingEngine


TICK = 1e-9
"""Seconds of a tick of a live schedule."""

LISTEN_SECONDS = 0.2
"""How often a driver that waits looks whether it is to stop."""

NAMED = 10
"""How many workers a sentence names."""


class Waited(NamedTuple):
    """A job whose answer is waited for, and when it is due."""

    worker: int
    job: int
    due: float


class Driver(ServingEngine):
    """The engine whose jobs are done by real workers, and whose clock is that of this machine.

    It keeps the cluster's time beside it (`exact`): a policy that watches its links is told that
    time, in which it plans, and delays that vary are those of the cluster at that time.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        costs: Costs,
        *,
        seed: int,
        timeline_seed: int,
        scale: float,
        patience: float,
        stopping: Callable[[], bool],
        on_step: Callable[[int], None],
    ) -> None:
        x = problem.start()
        super().__init__(
            problem, method, costs, x, seed=seed, timeline_seed=timeline_seed, tick=TICK
        )
        actions = next(method.policy(costs, problem.d).run(costs.n, timeline_seed))
        self.first: list[list[Any]] = [
            [a.worker, 0, 0, *a[1:6], 0.0, 0] for a in actions if isinstance(a, Assign)
        ]
        """The first jobs, as rows."""
        self.scale, self.patience = scale, patience
        self.stopping, self.on_step = stopping, on_step
        self.models = [x]
        self.waited: dict[Any, Waited] = {}
        self.wire: list[int] = []
        """Bits of the arrays of each arrival."""
        self.envelope = 0

    def assign(self, assign: Assign) -> None:
        """Hands a job to its worker, whose delay is the cluster's time of the job.

        One that would take for ever, or whose worker has died, is not sent: no answer comes.
        """
        running = self.begin(assign)
        seconds = running.timing.arrived - running.timing.start
        if seconds == INFINITE:
            return
        delay = seconds * self.scale
        reply = self.crew.send(self.row(running), delay, self.version, self.read())
        if reply is not None:
            due = time.monotonic() + delay
            self.waited[reply] = Waited(assign.worker, running.job, due)

    def cancel(self, worker: int) -> None:
        """The worker drops its job, and of what it had done nothing is counted."""
        running, self.running[worker] = self.running[worker], None
        if running is not None:
            self.crew.cancel(worker, running.job)
            self.waited = {r: job for r, job in self.waited.items() if job.worker != worker}

    def arrive(self) -> Running:
        """Waits for the next answer.

        Raises:
            NoProgressError: none can come, or none has for too long.
            InterruptedRunError: a stop was asked for.
        """
        ray = import_ray()
        while self.waited:
            if self.stopping():
                raise InterruptedRunError("stopped on request")
            ready, _ = ray.wait(list(self.waited), num_returns=1, timeout=LISTEN_SECONDS)
            if ready:
                arrived = self._taken(ready[0])
                if arrived is not None:
                    return arrived
            elif time.monotonic() > self._deadline():
                raise NoProgressError(self._silence())
        raise NoProgressError(self._nobody())

    def _taken(self, reply: Any) -> Running | None:
        """The job of an answer, or `None` where it is the death of its worker."""
        ray = import_ray()
        worker, job, _ = self.waited.pop(reply)
        try:
            messages = ray.get(reply, timeout=self.patience)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError:
            self.crew.lose(worker)
            return None
        running, self.running[worker] = self.running[worker], None
        assert running is not None
        assert running.job == job
        self.heard = time.monotonic()
        # A job without messages stays with its worker: nothing travels in the cluster.
        bits = message_bits(messages) if running.assign.messages else 0
        if not self.wire:
            packed = pickle.dumps(messages, protocol=pickle.HIGHEST_PROTOCOL)
            self.envelope = len(packed) - message_bits(messages) // 8
        self.wire.append(bits)
        self.messages = {(worker, job): jax.tree.map(jnp.asarray, messages)}
        self.exact = max(self.exact, running.timing.arrived)
        self.totals[0] += running.assign.gradients
        self.totals[1] += running.timing.up_bits
        return running

    def move(self, budget: int) -> None:
        """The server moves."""
        self.now = round((time.monotonic() - self.begun) / TICK)
        super().move(budget)
        self.models.append(self.server.x)
        self.on_step(self.version)

    def live(self, crew: Crew, steps: int) -> None:
        """Runs with these workers for so many server steps."""
        self.crew = crew
        self._compile()
        self.begun = self.heard = time.monotonic()
        self.loop(Limits(steps=steps))

    def _compile(self) -> None:
        """Counts the first jobs and moves once, for nothing: compiling is no part of the run."""
        for row, messages in self.crew.began:
            arrays, job = jax.tree.map(jnp.asarray, messages), self.job(row)
            self.functions.absorb(self.total, arrays, job, 0, run=self.data)
        self.functions.step(self.server, self.total, self.first[0][PHASE], 0, 0, run=self.data)

    def schedule(self, stuck: str | None) -> Listed:
        """What was lived, up to the last step, in the order in which it was counted."""
        lived = Listed.recorded(self.costs.n, TICK, self.rows, self.moves)
        return replace(lived.until(lived.K), stuck=stuck)

    def _deadline(self) -> float:
        """When patience ends: counted from the last answer, or from when the next one was due."""
        return max(self.heard, min(job.due for job in self.waited.values())) + self.patience

    def _silence(self) -> str:
        """Why patience has ended."""
        late = sorted(job.worker for job in self.waited.values())
        return (
            f"after {self.version} server steps nothing has arrived for {self.patience:g} s, "
            f"though {_workers(late)} had answers due: a process hangs, or computes for longer "
            "than that; give more patience"
        )

    def _nobody(self) -> str:
        """Why nothing can arrive."""
        waits = [i for i, job in enumerate(self.running) if job is not None]
        dead = [i for i in waits if self.crew.is_lost(i)]
        never = [i for i in waits if i not in set(dead)]
        whys = []
        if dead:
            whys.append(f"{_workers(dead)} died as a process ended")
        if never:
            whys.append(f"{_workers(never)} will never answer, as a time is infinite")
        return (
            f"after {self.version} server steps there is no answer to wait for: "
            f"{', and '.join(whys) or 'no worker was asked'}"
        )


def _workers(which: Sequence[int]) -> str:
    """As in `workers 0, 3 and 5`."""
    names = [str(i) for i in which[:NAMED]]
    more = [f"{len(which) - NAMED} more"] if len(which) > NAMED else []
    *first, last = names + more
    return f"workers {', '.join(first)} and {last}" if first else f"worker {last}"
