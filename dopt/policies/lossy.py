"""Lossy links: a message that is lost is sent again, whole, and counted."""

from dataclasses import dataclass

import numpy as np

from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.policies._base import Action, Assign, Policy, Run


@dataclass(frozen=True)
class Lossy(Policy):
    """Another policy over links that lose each transmission with probability `rate`.

    A worker that keeps state has already changed it when its message is lost, so the same bits are
    of no use later: it sends the vector itself, uncompressed, and again until it arrives. The job
    becomes a dense one whose bits are those of all that was sent. What is lost comes from the
    timeline's seed.

    Attributes:
        policy: who computes what.
        costs: what the cluster charges, for the bits of what is lost.
        rate: in [0, 1).
    """

    policy: Policy
    costs: Costs
    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ConfigurationError(
                f"rate = {self.rate}: a share of messages in [0, 1) is lost; at 1 none arrives"
            )

    def run(self, n: int, seed: int) -> Run:
        """See `Policy.run`."""
        rng = np.random.default_rng([seed, 2])
        inner = self.policy.run(n, seed)
        actions = next(inner)
        while True:
            arrival = yield [self._sent(action, rng) for action in actions]
            actions = inner.send(arrival)

    def _sent(self, action: Action, rng: np.random.Generator) -> Action:
        """The job with what its losses add to it."""
        if not isinstance(action, Assign) or not action.messages:
            return action
        each = self.costs.bits_each(action.dense, action.bits)
        lost = int(np.count_nonzero(rng.random(action.messages) < self.rate))
        if not lost:
            return action
        again = int(rng.geometric(1 - self.rate))
        bits = action.messages * each + again * self.costs.dense_bits
        return action._replace(messages=1, dense=True, bits=bits)
