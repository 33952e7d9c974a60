"""Streams: every worker computes without pause, and the server decides what an arrival is worth."""

from dataclasses import dataclass

from dopt.policies._base import Assign, Cancel, Count, Policy, Run, Step


@dataclass(frozen=True)
class EveryArrival(Policy):
    """The server moves at every arrival (asynchronous SGD).

    An arrival of delay δ counts with weight min(1, `full_weight_until`/δ), and not at all where
    δ > `max_delay`. `None` switches a rule off.
    """

    full_weight_until: int | None = None
    max_delay: int | None = None

    def run(self, n: int, seed: int) -> Run:
        """See `Policy.run`."""
        again = [Assign(worker, dense=True) for worker in range(n)]
        full, step = Count(), Step()
        actions: list = again
        while True:
            worker, delay, _ = yield actions
            if self.max_delay is not None and delay > self.max_delay:
                actions = [again[worker]]
            elif self.full_weight_until is not None and delay > self.full_weight_until:
                actions = [Count(self.full_weight_until / delay), step, again[worker]]
            else:
                actions = [full, step, again[worker]]


@dataclass(frozen=True)
class FreshBatch(Policy):
    """The server moves when `batch` gradients of the current model are there (Rennala SGD).

    Stale arrivals are discarded. Workers finish a stale job first, or with `stop` drop it at once.
    """

    batch: int
    stop: bool = False

    def run(self, n: int, seed: int) -> Run:
        """See `Policy.run`."""
        again = [Assign(worker, dense=True) for worker in range(n)]
        share, step = Count(1.0 / self.batch), Step()
        actions: list = again
        fresh = 0
        while True:
            worker, delay, _ = yield actions
            if delay:
                actions = [again[worker]]
                continue
            fresh += 1
            if fresh < self.batch:
                actions = [share, again[worker]]
                continue
            fresh = 0
            if self.stop:
                others = [Cancel(other) for other in range(n) if other != worker]
                actions = [share, step, *others, *again]
            else:
                actions = [share, step, again[worker]]
