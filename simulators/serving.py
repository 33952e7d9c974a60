"""The event engine with a server: what counts is absorbed, and the method's model moves.

Both use it that compute while time passes: `simulators.coupled` in virtual time, and live workers.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dopt.costs import Costs
from dopt.methods import Job, Method
from dopt.problems import Problem
from dopt.replay.plain import Functions, single_job, versions
from dopt.schedule import Arrivals
from simulators.observed import ObservedEngine, Running


PHASE = Arrivals._fields.index("phase")


class ServingEngine(ObservedEngine):
    """The server's side of a run, by the functions of the plain replay.

    `messages` holds those of jobs that may still count, by worker and job.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        costs: Costs,
        x: Float[Array, " d"],
        *,
        seed: int,
        timeline_seed: int,
        tick: float | None = None,
    ) -> None:
        super().__init__(method.policy(costs, problem.d), costs, timeline_seed, tick=tick)
        self.method = replace(method.computing(), step_size=jnp.asarray(method.step_size, x.dtype))
        self.functions = Functions(problem, self.method)
        self.data = jax.random.key(seed)
        self.server = self.method.start(x)
        self.sent = [self.method.broadcast(self.server)]
        """The newest versions, as many as a job reads."""
        self.total = jnp.zeros_like(x)
        self.messages: dict[tuple[int, int], Any] = {}

    def read(self) -> tuple[Array, ...]:
        """What a job reads that is assigned now."""
        return versions(self.sent, len(self.sent) - 1, self.method.reads)

    def job(self, row: Sequence[Any]) -> Job:
        """The job of a row of `Arrivals`."""
        return single_job(Arrivals._make(row), self.costs.n)

    def count(self, arrived: Running | None, weight: float) -> None:
        """The messages count in the current server step."""
        super().count(arrived, weight)
        assert arrived is not None
        messages = self.messages[arrived.assign.worker, arrived.job]
        self.total = self.functions.absorb(
            self.total, messages, self.job(self.rows[-1]), arrived.version, run=self.data
        )

    def move(self, budget: int) -> None:
        """The server moves."""
        self.server, out = self.functions.step(
            self.server, self.total, self.rows[-1][PHASE], budget, self.version, run=self.data
        )
        self.sent = [*self.sent, out][-self.method.reads :]
        self.total = jnp.zeros_like(self.total)
        super().move(budget)
