"""Rounds whose messages have a budget in bits: what a link is believed to carry in a round's time.

A round of t seconds leaves t_comm = (t − T_comp)/2 for each direction; the budget of a message is
c = B·t_comm, with the bandwidth B that a monitor estimates from past transfers (Kimad). All workers
get the same broadcast, so the smallest of their budgets is that of the server. A link that has not
been used yet gets the smallest message there is, as a probe.

Everything here is known without a gradient: the timeline of such rounds needs no values.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.monitors import LastTransfer, Monitor, Oracle
from dopt.policies._base import Action, Assign, Count, Policy, Run, Step, Timing


MOST_BITS = 2**31 - 1
"""A budget is a number of 32 bits where methods read it."""


class Sizes(NamedTuple):
    """What one kind of message may weigh: `within(budget)` are its bits, from `least` to `most`."""

    least: int
    most: int
    within: Callable[[int], int]


@dataclass(frozen=True)
class RoundTime:
    """A round is to take `seconds`; the monitor says what a link will carry (Kimad)."""

    seconds: float
    monitor: Monitor = field(default=LastTransfer())

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise ConfigurationError(
                f"seconds = {self.seconds}: a round's time is positive and finite; give more than "
                "one worker's gradients take"
            )


@dataclass(frozen=True)
class FixedBudget:
    """Every message may have so many bits, whatever the links do (a fixed ratio)."""

    up: int
    down: int

    def __post_init__(self) -> None:
        if min(self.up, self.down) < 1:
            raise ConfigurationError(
                f"budgets of {self.up} bits up and {self.down} down: give at least one bit"
            )


Spending = RoundTime | FixedBudget
"""How the budgets of a round are found."""


class _Known:
    """What is known of one worker: rates of past transfers up and down, and its last computing."""

    def __init__(self, memory: int) -> None:
        self.up: deque[float] = deque(maxlen=memory)
        self.down: deque[float] = deque(maxlen=memory)
        self.computing = 0.0
        self.computed = 0

    def see(self, timing: Timing, latency: float, gradients: int) -> None:
        """Learns from a job that has ended."""
        if timing.down_bits:
            self.down.append(_rate(timing.down_bits, timing.ready - timing.start - latency))
        if timing.up_bits:
            self.up.append(_rate(timing.up_bits, timing.arrived - timing.computed - latency))
        self.computing = timing.computed - timing.ready
        self.computed += gradients


def _whole(budget: float, sizes: Sizes) -> int:
    """A budget in whole bits; the last digits of a float do not decide, nor what none can use."""
    return int(min(budget * (1 + 1e-12), sizes.most))


def _rate(bits: int, seconds: float) -> float:
    return bits / seconds if seconds > 0 else float("inf")


@dataclass(frozen=True, eq=False)
class BudgetRounds(Policy):
    """Rounds of all workers; each sends one message within its budget, and so does the server.

    Workers know x⁰: nothing is sent before the first round.

    Attributes:
        costs: what the cluster charges.
        spending: how budgets are found.
        up: the sizes of the workers' messages.
        down: those of the server's.
        gradients: stochastic gradients of a worker in a round.
    """

    costs: Costs
    spending: Spending
    up: Sizes
    down: Sizes
    gradients: int = 1
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        largest = max(self.up.most, self.down.most)
        if largest > MOST_BITS:
            raise ConfigurationError(
                f"a whole message has {largest} bits, and a budget at most 2^31 − 1: leave out the "
                "ladders' top rungs, or split the model"
            )

    def run(self, n: int, seed: int) -> Run:
        """See `Policy.run`."""
        memory = self.spending.monitor.memory if isinstance(self.spending, RoundTime) else 1
        known = [_Known(memory) for _ in range(n)]
        actions: list[Action] = []
        now, news = 0.0, 0
        while True:
            actions += [self._ask(i, known[i], now, news) for i in range(n)]
            for _ in range(n):
                arrival = yield actions
                worker, _, timing = arrival
                if timing is None:
                    raise ConfigurationError(
                        "rounds with budgets need timings of their jobs, and whoever runs this "
                        "policy gives none; run it on a timeline"
                    )
                known[worker].see(timing, float(self.costs.latency[worker]), self.gradients)
                now, actions = max(now, timing.arrived), [Count(1.0 / n)]
            budget = _whole(min(self._down(i, known[i], now) for i in range(n)), self.down)
            news = self.down.within(budget)
            actions.append(Step(budget))

    def _ask(self, worker: int, known: _Known, now: float, news: int) -> Assign:
        """What a worker is asked to do in a round."""
        budget = _whole(self._up(worker, known, now, news), self.up)
        bits = self.up.within(budget)
        return Assign(worker, self.gradients, budget=budget, bits=bits, download=news)

    def _up(self, worker: int, known: _Known, now: float, news: int) -> float:
        """The budget of a worker's message in bits, before anything of the round has happened."""
        if isinstance(self.spending, FixedBudget):
            return float(self.spending.up)
        costs, spending = self.costs, self.spending
        if isinstance(spending.monitor, Oracle):
            ready = costs.downloaded(worker, now, news) if news else now
            begin = costs.computed(worker, ready, self.gradients, known.computed)
            left = now + spending.seconds - begin
            share = self._share(worker, known, now)
            return costs.up_bits(worker, begin, min(left, share)) if left > 0 else 0.0
        return self._believed(spending.monitor, known.up, worker, known, now)

    def _down(self, worker: int, known: _Known, now: float) -> float:
        """The budget of the next broadcast, as far as one worker's link is concerned."""
        if isinstance(self.spending, FixedBudget):
            return float(self.spending.down)
        if isinstance(self.spending.monitor, Oracle):
            return self.costs.down_bits(worker, now, self._share(worker, known, now))
        return self._believed(self.spending.monitor, known.down, worker, known, now)

    def _believed(
        self, monitor: Monitor, rates: deque[float], worker: int, known: _Known, now: float
    ) -> float:
        """C = B·t_comm with the monitor's B; 0 where nothing has been seen."""
        seconds = self._share(worker, known, now) - float(self.costs.latency[worker])
        if not rates or seconds <= 0:
            return 0.0
        return monitor.estimate(tuple(rates)) * seconds

    def _share(self, worker: int, known: _Known, now: float) -> float:
        """t_comm = (t − T_comp)/2; T_comp is the last one, or what the oracle knows."""
        assert isinstance(self.spending, RoundTime)
        computing = known.computing
        if isinstance(self.spending.monitor, Oracle):
            end = self.costs.computed(worker, now, self.gradients, known.computed)
            computing = end - now
        return max(0.0, (self.spending.seconds - computing) / 2)
