"""A policy that does everything, and the costs of a cluster without latency."""

from dataclasses import dataclass

import numpy as np

from dopt.costs import Costs
from dopt.policies import Assign, Cancel, Count, Policy, Step


DENSE_BITS, MESSAGE_BITS = 640, 32


def costs_of(h, tau=0.0, tau_dense=0.0, tau_down=0.0):
    times = (np.broadcast_to(np.asarray(t, float), len(h)) for t in (h, tau, tau_dense, tau_down))
    return Costs(*times, MESSAGE_BITS, DENSE_BITS)


@dataclass(frozen=True)
class Erratic(Policy):
    """Hands out, counts and cancels at random, but always has someone at work."""

    def run(self, n, seed):
        rng = np.random.default_rng(seed)

        def job(worker):
            b, m, phase = (int(number) for number in rng.integers([1, 0, 0], [4, 4, 3]))
            bits, news = (None if odd < 0 else int(odd) for odd in rng.integers(-50, 50, 2))
            return Assign(worker, b, m, bool(rng.random() < 0.5), phase, 7 * b, bits, news)

        busy, actions = set(range(n)), [job(worker) for worker in range(n)]
        while True:
            arrival = yield actions
            busy.discard(arrival.worker)
            actions = [Count(float(rng.random()))] if rng.random() < 0.7 else []
            if rng.random() < 0.5:
                actions.append(Step())
            for worker in range(n):
                if worker in busy and rng.random() < 0.2:
                    actions.append(Cancel(worker))
                    busy.discard(worker)
                if worker not in busy and (not busy or rng.random() < 0.8):
                    actions.append(job(worker))
                    busy.add(worker)
