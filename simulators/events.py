"""The event engine: a heap of arrivals that drives a policy in virtual time.

It serves every policy and is the reference for the closed form of rounds.
"""

import gc
from heapq import heappop, heappush
from typing import NamedTuple

from dopt.costs import Costs
from dopt.errors import NoProgressError
from dopt.policies import Arrival, Assign, Count, Policy, Step
from dopt.schedule import Arrivals, Listed
from simulators.clock import tick_seconds, to_ticks


class Limits(NamedTuple):
    """Where a timeline ends: the first limit that the next server step would pass."""

    steps: int | None = None
    seconds: float | None = None
    gradients: int | None = None


WEIGHT = Arrivals._fields.index("weight")
INFINITE = float("inf")
IDLE, NEVER = -1, -2
NOTHING = Assign(-1)
"""What a worker runs before its first job."""


class Engine:
    """One run of a policy on a cluster of fixed times.

    A heap entry is one integer, the tick shifted left by `shift` bits and the worker below it, so
    that entries order by `(tick, worker)`. `due[i]` is the entry of worker i's running job; others
    of its entries belong to jobs that were dropped.

    Chains of equal jobs of worker i end at `base[i] + links[i]·seconds[i]`.
    """

    def __init__(self, policy: Policy, costs: Costs, seed: int) -> None:
        n = costs.n
        self.costs = costs
        self.tick = tick_seconds(costs)
        self.shift = n.bit_length()
        self.h, self.tau = costs.h.tolist(), costs.tau.tolist()
        self.tau_dense, self.tau_down = costs.tau_dense.tolist(), costs.tau_down.tolist()
        self.heap: list[int] = []
        self.due = [IDLE] * n
        self.running = [NOTHING] * n
        self.busy = [0.0] * n
        """Seconds of the running job, but for a download."""
        self.job, self.read, self.received = [IDLE] * n, [IDLE] * n, [IDLE] * n
        self.base, self.links, self.seconds = [0.0] * n, [0] * n, [0.0] * n
        self.ready = [0.0] * n
        """When the model of the running job was there."""
        self.version = 0
        self.now, self.exact = 0, 0.0
        self.gradients = self.bits_up = self.bits_down = 0
        self.rows: list[list] = []
        self.moves: list[tuple[int, int, int, int, int]] = []
        self.run = policy.run(n, seed)

    def bits(self, assign: Assign) -> int:
        """Bits of one message of a job."""
        if assign.bits is not None:
            return assign.bits
        return self.costs.dense_bits if assign.dense else self.costs.message_bits

    def compute(self, assign: Assign) -> float:
        """Seconds of the gradients of a job: 0 for none, even where one would be infinite."""
        return assign.gradients * self.h[assign.worker] if assign.gradients else 0.0

    def message(self, assign: Assign) -> float:
        """Seconds of one message of a job."""
        if assign.bits is not None:
            return float(self.costs.uplink_seconds(assign.worker, assign.bits))
        return (self.tau_dense if assign.dense else self.tau)[assign.worker]

    def download(self, assign: Assign) -> float:
        """The worker gets the newest model, its first one whole; returns the seconds it takes."""
        i = assign.worker
        first, self.received[i] = self.received[i] == IDLE, self.version
        if assign.download == 0:
            return 0.0
        if first or assign.download is None:
            self.bits_down += self.costs.dense_bits
            return self.tau_down[i]
        self.bits_down += assign.download
        return float(self.costs.downlink_seconds(i, assign.download))

    def assign(self, assign: Assign) -> None:
        """The worker begins now; if it has just finished an equal job, its chain goes on."""
        i, exact = assign.worker, self.exact
        if assign is not self.running[i]:
            self.running[i] = assign
            self.busy[i] = self.compute(assign)
            if assign.messages:
                self.busy[i] += assign.messages * self.message(assign)
        ready, seconds = exact, self.busy[i]
        if assign.messages and self.received[i] != self.version:
            down = self.download(assign)
            seconds += down
            ready += down
        base, links = self.base[i], self.links[i] + 1
        if seconds != self.seconds[i] or base + self.links[i] * seconds != exact:
            base, links = exact, 1
            self.base[i], self.seconds[i] = exact, seconds
        self.links[i] = links
        self.ready[i] = ready
        self.job[i] += 1
        self.read[i] = self.version
        # A job that never ends has no entry, but it can be dropped.
        self.due[i] = NEVER
        if seconds < INFINITE:
            entry = to_ticks(base + links * seconds, self.tick) << self.shift | i
            self.due[i] = entry
            heappush(self.heap, entry)

    def cancel(self, i: int) -> None:
        """The worker drops its job; the gradients and messages it had finished count as spent."""
        if self.due[i] == IDLE:
            return
        self.due[i] = IDLE
        job = self.running[i]
        left = self.exact - self.ready[i]
        self.gradients += self.finished(job.gradients, self.h[i], left)
        left -= self.compute(job)
        self.bits_up += self.finished(job.messages, self.message(job), left) * self.bits(job)

    def finished(self, asked: int, each: float, seconds: float) -> int:
        """How many of the acts `asked` of a worker end within `seconds`, give or take a tick."""
        if seconds < -self.tick:
            return 0
        return min(asked, int((seconds + self.tick) / each)) if each else asked

    def arrive(self) -> int:
        """The worker that arrives next; advances the clock and the totals."""
        heap, due, last = self.heap, self.due, (1 << self.shift) - 1
        while heap:
            entry = heappop(heap)
            i = entry & last
            if due[i] == entry:
                due[i] = IDLE
                assign = self.running[i]
                self.now = entry >> self.shift
                self.exact = self.base[i] + self.links[i] * self.seconds[i]
                self.gradients += assign.gradients
                self.bits_up += assign.messages * self.bits(assign)
                return i
        raise NoProgressError(
            f"after {self.version} server steps no worker has anything left to send: the policy "
            "waits for a worker whose time is infinite; leave that worker out"
        )

    def move(self, budget: int) -> None:
        """The server moves."""
        self.version += 1
        self.moves.append((self.now, self.gradients, self.bits_up, self.bits_down, budget))

    def simulate(self, limits: Limits) -> Listed:
        """Runs until a limit is passed and returns what came before it."""
        # Rows live to the end: looking for garbage among millions of them finds none.
        collecting = gc.isenabled()
        gc.disable()
        try:
            self.loop(limits)
        finally:
            if collecting:
                gc.enable()
        schedule = Listed.recorded(self.costs.n, self.tick, self.rows, self.moves)
        return schedule.until(schedule.K)

    def loop(self, limits: Limits) -> None:
        """Actions, then the next arrival, until a limit is passed."""
        last = INFINITE if limits.seconds is None else limits.seconds / self.tick
        most = INFINITE if limits.gradients is None else limits.gradients
        steps = INFINITE if limits.steps is None else limits.steps
        actions, send, keep = next(self.run), self.run.send, self.rows.append
        running, job, read = self.running, self.job, self.read
        row: list = []
        while True:
            for action in actions:
                if isinstance(action, Assign):
                    self.assign(action)
                elif isinstance(action, Count):
                    row[WEIGHT] = action.weight
                elif isinstance(action, Step):
                    self.move(action.budget)
                else:
                    self.cancel(action.worker)
            if self.version >= steps:
                return
            i = self.arrive()
            if self.now > last or self.gradients > most:
                return
            version = self.version
            _, b, m, dense, phase, budget, *_ = running[i]
            row = [i, job[i], read[i], b, m, dense, phase, budget, 0.0, version]
            keep(row)
            actions = send(Arrival(i, version - read[i]))
