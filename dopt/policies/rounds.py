"""Rounds: the server waits for everyone it asked, moves, and asks again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int

from dopt.errors import ConfigurationError
from dopt.policies._base import Arrival, Assign, Count, Policy, Run, Step
from dopt.schedule import Pattern


def pattern(
    workers: Iterable[int] | Int[np.ndarray, " P"],
    *,
    gradients: int | Int[np.ndarray, " P"] = 1,
    messages: int | Int[np.ndarray, " P"] = 1,
    dense: bool | Bool[np.ndarray, " P"] = False,
    weight: float | Float[np.ndarray, " P"],
) -> Pattern:
    """The pattern of a round; scalars are the same for every worker."""
    worker = np.fromiter(workers, np.int32)
    if not len(worker):
        raise ConfigurationError("a round needs at least one worker, got none")

    def column(value: object, dtype: type) -> npt.NDArray:
        return np.broadcast_to(np.asarray(value, dtype), worker.shape).copy()

    return Pattern(
        worker,
        column(gradients, np.int64),
        column(messages, np.int64),
        column(dense, np.bool_),
        column(weight, np.float64),
    )


@dataclass(frozen=True, eq=False)
class Rounds(Policy):
    """Every round follows `usual`, or `dense` in the first round and later with probability `p`.

    The coin is one for all workers and comes from the timeline's seed, so that the timeline knows
    which rounds take longer without seeing a value (MARINA). Both patterns have the same workers.
    """

    usual: Pattern
    dense: Pattern | None = None
    p: float = 0.0

    def coins(self, K: int, seed: int) -> npt.NDArray[np.bool_]:
        """Which of the first `K` rounds are dense. A longer run begins with the same coins."""
        if self.dense is None:
            return np.zeros(K, np.bool_)
        coins = np.random.default_rng(seed).random(K) < self.p
        coins[:1] = True
        return coins

    def run(self, n: int, seed: int) -> Run:
        """See `Policy.run`."""
        rng = np.random.default_rng(seed)
        first = True
        actions: list = []
        while True:
            coin = rng.random() < self.p or first
            now = self.dense if self.dense is not None and coin else self.usual
            weight = dict(zip(now.worker.tolist(), now.weight.tolist(), strict=True))
            columns = zip(*(column.tolist() for column in now[:4]), strict=True)
            actions += [Assign(*row) for row in columns]
            for left in range(len(weight) - 1, -1, -1):
                arrival: Arrival = yield actions
                actions = [Count(weight[arrival.worker])]
                if not left:
                    actions.append(Step())
            first = False
