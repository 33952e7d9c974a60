"""The event engine: a heap of arrivals that drives a policy in virtual time.

It serves every policy and is the reference for the closed form of rounds.
"""

import heapq
from dataclasses import dataclass
from typing import NamedTuple

from dopt.costs import Costs
from dopt.errors import NoProgressError
from dopt.policies import Arrival, Assign, Cancel, Count, Policy
from dopt.schedule import Arrivals, Listed
from simulators.clock import tick_seconds, to_ticks


class Limits(NamedTuple):
    """Where a timeline ends: the first limit that the next server step would pass."""

    steps: int | None = None
    seconds: float | None = None
    gradients: int | None = None


@dataclass(slots=True)
class _Worker:
    """What a worker is doing: `running` since `ready`, when its model was there.

    Chains of equal jobs end at `base + links·seconds`.
    """

    job: int = -1
    version: int = -1
    received: int = -1
    running: Assign | None = None
    base: float = 0.0
    links: int = 0
    seconds: float = 0.0
    ready: float = 0.0

    @property
    def end(self) -> float:
        return self.base + self.links * self.seconds


@dataclass(slots=True)
class _Totals:
    gradients: int = 0
    bits_up: int = 0
    bits_down: int = 0


WEIGHT = Arrivals._fields.index("weight")


class Engine:
    """One run of a policy on a cluster of fixed times."""

    def __init__(self, policy: Policy, costs: Costs, seed: int) -> None:
        self.costs = costs
        self.tick = tick_seconds(costs)
        self.h, self.tau = costs.h.tolist(), costs.tau.tolist()
        self.tau_dense, self.tau_down = costs.tau_dense.tolist(), costs.tau_down.tolist()
        self.workers = [_Worker() for _ in range(costs.n)]
        self.heap: list[tuple[int, int, int]] = []
        self.version = 0
        self.now, self.exact = 0, 0.0
        self.totals = _Totals()
        self.rows: list[list] = []
        self.moves: list[tuple[int, int, int, int]] = []
        self.run = policy.run(costs.n, seed)

    def bits(self, assign: Assign) -> int:
        """Bits of one message of a job."""
        return self.costs.dense_bits if assign.dense else self.costs.message_bits

    def compute(self, assign: Assign) -> float:
        """Seconds of the gradients of a job: 0 for none, even where one would be infinite."""
        return assign.gradients * self.h[assign.worker] if assign.gradients else 0.0

    def message(self, assign: Assign) -> float:
        """Seconds of one message of a job."""
        return (self.tau_dense if assign.dense else self.tau)[assign.worker]

    def assign(self, assign: Assign) -> None:
        """The worker begins now; if it has just finished an equal job, its chain goes on."""
        index, worker = assign.worker, self.workers[assign.worker]
        worker.ready, seconds = self.exact, self.compute(assign)
        if assign.messages:
            seconds += assign.messages * self.message(assign)
            if worker.received != self.version:
                seconds += self.tau_down[index]
                worker.ready += self.tau_down[index]
                self.totals.bits_down += self.costs.dense_bits
                worker.received = self.version
        if seconds == worker.seconds and worker.end == self.exact:
            worker.links += 1
        else:
            worker.base, worker.links, worker.seconds = self.exact, 1, seconds
        worker.job += 1
        worker.version = self.version
        worker.running = assign
        if seconds < float("inf"):
            ticks = to_ticks(worker.end, self.tick)
            heapq.heappush(self.heap, (ticks, index, worker.job))

    def cancel(self, index: int) -> None:
        """The worker drops its job; the gradients and messages it had finished count as spent."""
        worker = self.workers[index]
        if worker.running is None:
            return
        job, worker.running = worker.running, None
        left = self.exact - worker.ready
        self.totals.gradients += self.finished(job.gradients, self.h[index], left)
        left -= self.compute(job)
        self.totals.bits_up += self.finished(job.messages, self.message(job), left) * self.bits(job)

    def finished(self, asked: int, each: float, seconds: float) -> int:
        """How many of the acts `asked` of a worker end within `seconds`, give or take a tick."""
        if seconds < -self.tick:
            return 0
        return min(asked, int((seconds + self.tick) / each)) if each else asked

    def arrive(self) -> tuple[int, Assign]:
        """The next arrival: advances the clock and the totals."""
        while self.heap:
            self.now, index, job = heapq.heappop(self.heap)
            worker = self.workers[index]
            if worker.running is not None and worker.job == job:
                assign, worker.running = worker.running, None
                self.exact = worker.end
                self.totals.gradients += assign.gradients
                self.totals.bits_up += assign.messages * self.bits(assign)
                return index, assign
        raise NoProgressError(
            f"after {self.version} server steps no worker has anything left to send: the policy "
            "waits for a worker whose time is infinite; leave that worker out"
        )

    def move(self) -> None:
        """The server moves."""
        t = self.totals
        self.version += 1
        self.moves.append((self.now, t.gradients, t.bits_up, t.bits_down))

    def simulate(self, limits: Limits) -> Listed:
        """Runs until a limit is passed and returns what came before it."""
        last = float("inf") if limits.seconds is None else limits.seconds / self.tick
        most = float("inf") if limits.gradients is None else limits.gradients
        steps = float("inf") if limits.steps is None else limits.steps
        actions = next(self.run)
        row: list = []
        while True:
            for action in actions:
                if isinstance(action, Assign):
                    self.assign(action)
                elif isinstance(action, Count):
                    row[WEIGHT] = action.weight
                elif isinstance(action, Cancel):
                    self.cancel(action.worker)
                else:
                    self.move()
            if self.version >= steps:
                break
            arrived, job = self.arrive()
            if self.now > last or self.totals.gradients > most:
                break
            worker = self.workers[arrived]
            row = [arrived, worker.job, worker.version, *job[1:], 0.0, self.version]
            self.rows.append(row)
            actions = self.run.send(Arrival(arrived, self.version - worker.version))
        return self.listed()

    def listed(self) -> Listed:
        """The schedule so far; arrivals after the last server step are dropped."""
        schedule = Listed.recorded(self.costs.n, self.tick, self.rows, self.moves)
        return schedule.until(schedule.K)
