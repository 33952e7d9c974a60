"""The event engine for times that vary: the end of an act depends on when it begins.

It serves every policy on every cluster, and tells policies that ask (`observes`) how long the acts
of each job took. `simulators.events` is many times faster where times are fixed and nobody asks.
"""

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from dopt.costs import Costs
from dopt.errors import NoProgressError
from dopt.policies import Action, Arrival, Assign, Cancel, Count, Policy, Timing
from dopt.schedule import Arrivals, Listed
from simulators.clock import tick_seconds, to_ticks
from simulators.events import IDLE, INFINITE, WEIGHT, Limits


class Observed(NamedTuple):
    """A schedule and, for each of its arrivals, when its acts ended."""

    schedule: Listed
    timings: list[Timing]


class Running(NamedTuple):
    """A job on its way: its number, the version it read, when its messages arrive one by one."""

    assign: Assign
    job: int
    version: int
    before: int
    bits: int
    timing: Timing
    arrivals: list[float]


def acts(
    costs: Costs, assign: Assign, start: float, *, down: int, up: int, before: int
) -> tuple[Timing, list[float]]:
    """When the acts of a job end that begins at `start`, and when each of its messages arrives.

    `down` bits travel first, `up` are those of one message, `before` counts the gradients that the
    worker has computed by then.
    """
    i = assign.worker
    ready = costs.downloaded(i, start, down) if down else start
    end = computed = costs.computed(i, ready, assign.gradients, before)
    arrivals = []
    for _ in range(assign.messages):
        end = costs.uploaded(i, end, up) if end < INFINITE else end
        arrivals.append(end)
    return Timing(start, ready, computed, end, down, assign.messages * up), arrivals


class ObservedEngine:
    """One run of a policy on a cluster whose times may vary.

    The clock is that of `simulators.events`: ends are exact in seconds and ordered by
    `(tick, worker)`; what follows an event begins at its exact time.
    """

    def __init__(
        self, policy: Policy, costs: Costs, seed: int, *, tick: float | None = None
    ) -> None:
        """`tick` is the length of a tick in seconds; by default one that suits the cluster."""
        n = costs.n
        self.costs = costs
        self.tick = tick_seconds(costs) if tick is None else tick
        self.observes = policy.observes
        self.heap: list[tuple[int, int, int]] = []
        self.running: list[Running | None] = [None] * n
        self.jobs, self.received, self.computed = [0] * n, [IDLE] * n, [0] * n
        self.version = 0
        self.now, self.exact = 0, 0.0
        self.totals = [0, 0, 0]
        """Gradients, bits up, bits down."""
        self.rows: list[list] = []
        self.timings: list[Timing] = []
        self.moves: list[tuple[int, ...]] = []
        self.run = policy.run(n, seed)

    def up_bits(self, assign: Assign, job: int) -> int:
        """Bits of one message of a job."""
        return self.costs.bits_each(assign.dense, assign.bits)

    def down_bits(self, assign: Assign) -> int:
        """Bits of the model that a job needs; 0 where nothing travels."""
        i = assign.worker
        if not assign.messages or self.received[i] == self.version:
            return 0
        first, self.received[i] = self.received[i] == IDLE, self.version
        if assign.download == 0:
            return 0
        return self.costs.dense_bits if first or assign.download is None else assign.download

    def begin(self, assign: Assign) -> Running:
        """The worker begins now; the job, and when it ends."""
        i, job = assign.worker, self.jobs[assign.worker]
        down, up = self.down_bits(assign), self.up_bits(assign, job)
        before = self.computed[i]
        timing, arrivals = acts(self.costs, assign, self.exact, down=down, up=up, before=before)
        running = Running(assign, job, self.version, before, up, timing, arrivals)
        self.running[i] = running
        self.jobs[i] += 1
        self.computed[i] += assign.gradients
        self.totals[2] += down
        return running

    def assign(self, assign: Assign) -> None:
        """The worker begins now, and arrives in time."""
        running = self.begin(assign)
        end = running.timing.arrived
        if end < INFINITE:
            heappush(self.heap, (to_ticks(end, self.tick), assign.worker, running.job))

    def cancel(self, worker: int) -> None:
        """The worker drops its job; the gradients and messages it had finished count as spent."""
        running, self.running[worker] = self.running[worker], None
        if running is None:
            return
        last = self.exact + self.tick

        def end(count: int) -> float:
            return self.costs.computed(worker, running.timing.ready, count, running.before)

        asked = range(running.assign.gradients + 1)
        gradients = bisect_right(asked, last, key=end) - 1
        self.computed[worker] = running.before + max(gradients, 0)
        self.totals[0] += max(gradients, 0)
        self.totals[1] += bisect_right(running.arrivals, last) * running.bits

    def arrive(self) -> Running:
        """The job whose last message arrives next; advances the clock and the totals."""
        while self.heap:
            tick, i, job = heappop(self.heap)
            running = self.running[i]
            if running is not None and running.job == job:
                self.running[i] = None
                self.now, self.exact = tick, running.timing.arrived
                self.totals[0] += running.assign.gradients
                self.totals[1] += running.timing.up_bits
                return running
        waits = [i for i, job in enumerate(self.running) if job is not None]
        raise NoProgressError(
            f"after {self.version} server steps and {self.exact:.6g} s no worker has anything left "
            f"to send: workers {waits or 'none'} never end what they do, because a link or a "
            "processor stands still for ever; leave them out, or give recordings that go on"
        )

    def act(self, actions: Sequence[Action], arrived: Running | None) -> None:
        """Carries out what the policy answered."""
        for action in actions:
            if isinstance(action, Assign):
                self.assign(action)
            elif isinstance(action, Cancel):
                self.cancel(action.worker)
            elif isinstance(action, Count):
                self.count(arrived, action.weight)
            else:
                self.move(action.budget)

    def count(self, arrived: Running | None, weight: float) -> None:
        """The arrival counts in the current server step."""
        self.rows[-1][WEIGHT] = weight

    def move(self, budget: int) -> None:
        """The server moves."""
        self.version += 1
        self.moves.append((self.now, *self.totals, budget))

    def simulate(self, limits: Limits) -> Observed:
        """Runs until a limit is passed and returns what came before it.

        Where no step can ever come, what came before is returned as well, and says so.

        Raises:
            NoProgressError: that is so before the first step.
        """
        stuck = None
        try:
            self.loop(limits)
        except NoProgressError as error:
            if not self.version:
                raise
            stuck = str(error)
        schedule = Listed.recorded(self.costs.n, self.tick, self.rows, self.moves)
        # Arrivals of a step in the order of workers: what is summed does not depend on the links.
        a = schedule.arrivals
        order = np.lexsort((a.worker, a.step))
        order = order[a.step[order] < schedule.K]
        schedule = Listed(schedule.n, schedule.tick, schedule.steps, a.rows(order), stuck)
        return Observed(schedule, [self.timings[j] for j in order.tolist()])

    def loop(self, limits: Limits) -> None:
        """Actions, then the next arrival, until a limit is passed."""
        last = INFINITE if limits.seconds is None else limits.seconds / self.tick
        most = INFINITE if limits.gradients is None else limits.gradients
        steps = INFINITE if limits.steps is None else limits.steps
        actions, arrived = next(self.run), None
        while True:
            self.act(actions, arrived)
            if self.version >= steps:
                return
            arrived = self.arrive()
            if self.now > last or self.totals[0] > most:
                return
            self.rows.append(self.row(arrived))
            self.timings.append(arrived.timing)
            delay = self.version - arrived.version
            timing = arrived.timing if self.observes else None
            actions = self.run.send(Arrival(arrived.assign.worker, delay, timing))

    def row(self, arrived: Running) -> list:
        """The arrival as a row of `Arrivals`."""
        worker, b, m, dense, phase, budget, *_ = arrived.assign
        row = [worker, arrived.job, arrived.version, b, m, dense, phase, budget, 0.0, self.version]
        assert len(row) == len(Arrivals._fields)
        return row
