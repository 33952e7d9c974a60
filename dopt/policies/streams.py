"""Streams: every worker computes without pause, and the server decides what an arrival is worth."""

from dataclasses import dataclass

from dopt.policies._base import Arrival, Assign, Cancel, Count, Policy, Run, Step


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
        actions: list = [Assign(worker, dense=True) for worker in range(n)]
        while True:
            arrival: Arrival = yield actions
            again = Assign(arrival.worker, dense=True)
            if self.max_delay is not None and arrival.delay > self.max_delay:
                actions = [again]
            else:
                weight = 1.0
                if self.full_weight_until is not None and arrival.delay > self.full_weight_until:
                    weight = self.full_weight_until / arrival.delay
                actions = [Count(weight), Step(), again]


@dataclass(frozen=True)
class FreshBatch(Policy):
    """The server moves when `batch` gradients of the current model are there (Rennala SGD).

    Stale arrivals are discarded. Workers finish a stale job first, or with `stop` drop it at once.
    """

    batch: int
    stop: bool = False

    def run(self, n: int, seed: int) -> Run:
        """See `Policy.run`."""
        actions: list = [Assign(worker, dense=True) for worker in range(n)]
        fresh = 0
        while True:
            arrival: Arrival = yield actions
            again = Assign(arrival.worker, dense=True)
            actions = []
            if arrival.delay == 0:
                fresh += 1
                actions.append(Count(1.0 / self.batch))
            if fresh < self.batch:
                actions.append(again)
                continue
            fresh = 0
            actions.append(Step())
            if self.stop:
                others = [worker for worker in range(n) if worker != arrival.worker]
                actions += [Cancel(worker) for worker in others]
                actions += [Assign(worker, dense=True) for worker in range(n)]
            else:
                actions.append(again)
