"""Live: the same method on Ray actors, one a worker, with packed messages and real clocks.

The driver runs the method's own policy on real arrivals and records the schedule it lived; the
plain replay of that schedule (`dopt.replay.plain`) gives the live trace bit for bit, because both
call the same compiled functions in the same order. A policy that watches its links is told the
cluster's times, not those of this machine.
"""

import time
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import ray
from jaxtyping import Array

from dopt.costs import Costs
from dopt.errors import ConfigurationError, NoProgressError
from dopt.methods import Job, Method
from dopt.policies import Arrival, Assign, Cancel, Count, Timing
from dopt.problems import Problem
from dopt.replay.plain import (
    Functions,
    check_workers,
    message_bits,
    single_job,
    versions,
)
from dopt.schedule import Arrivals, Listed
from simulators.observed import acts


TICK = 1e-9
"""Seconds of a tick of a live schedule."""

VERSION, PHASE, WEIGHT = (Arrivals._fields.index(name) for name in ("version", "phase", "weight"))
"""Places in a row of a schedule."""


class Live(NamedTuple):
    """A live run: the schedule it lived, and its models x⁰, ..., x^K."""

    schedule: Listed
    models: list[Array]


class _Pending(NamedTuple):
    """A job on its way: its row of the schedule, bits of a message, and the cluster's times."""

    row: list[Any]
    bits: int
    timing: Timing


class _Worker:
    """The actor: a worker's memory and the functions it runs on request."""

    def __init__(self, x64: bool) -> None:
        # Before any array is unpacked: JAX would cut its 64 bits to 32.
        jax.config.update("jax_enable_x64", x64)

    def begin(self, problem: Problem, method: Method, x: Any, seed: int) -> None:
        """What every job of the run needs."""
        self.functions = Functions(problem, method)
        self.memory = method.init(jnp.asarray(x))[1]
        self.run = jax.random.key(seed)

    def work(self, models: tuple[Any, ...], job: Job, version: int, seconds: float) -> Any:
        """One job; takes at least `seconds`. Answers with the packed messages."""
        begun = time.monotonic()
        models = tuple(jnp.asarray(x) for x in models)
        self.memory, messages = self.functions.work(self.memory, models, job, version, run=self.run)
        messages = jax.tree.map(np.asarray, messages)
        time.sleep(max(0.0, seconds - (time.monotonic() - begun)))
        return messages


class _Driver:
    """The server's side of a live run."""

    def __init__(
        self, problem: Problem, method: Method, costs: Costs, seed: int, scale: float
    ) -> None:
        method = replace(method, step_size=jnp.asarray(method.step_size))
        x = problem.start()
        actor = ray.remote(num_cpus=0)(_Worker)
        x64 = bool(jax.config.read("jax_enable_x64"))
        self.actors: list[Any] = [actor.remote(x64) for _ in range(costs.n)]
        shared = ray.put(problem)
        ray.get([a.begin.remote(shared, method, np.asarray(x), seed) for a in self.actors])
        self.functions, self.costs, self.scale = Functions(problem, method), costs, scale
        self.reads = method.reads
        self.server = method.start(x)
        self.models, self.total = [x], jnp.zeros_like(x)
        self.sent: list[Any] = [method.broadcast(self.server)]
        self.run = jax.random.key(seed)
        self.pending: dict[Any, _Pending] = {}
        self.jobs = [0] * costs.n
        self.received = [-1] * costs.n
        self.rows: list[list] = []
        self.totals = [0, 0, 0]
        self.moves: list[tuple[int, ...]] = []
        self.begun = time.monotonic()
        self.virtual = 0.0
        self.computed = [0] * costs.n

    def assign(self, assign: Assign) -> None:
        """Hands a job to its actor; real models travel."""
        worker, version = assign.worker, len(self.models) - 1
        download = assign.messages > 0 and self.received[worker] != version
        first = self.received[worker] < 0 and assign.download != 0
        news = None if first else assign.download
        down = (self.costs.dense_bits if news is None else news) if download else 0
        if download:
            self.received[worker] = version
        self.totals[2] += down
        seconds = self.costs.job_seconds(
            worker,
            assign.gradients,
            assign.messages,
            assign.dense,
            download=download,
            bits=assign.bits,
            download_bits=news,
        )
        row: list[Any] = [worker, self.jobs[worker], version, *assign[1:6], 0.0, -1]
        self.jobs[worker] += 1
        job = single_job(Arrivals._make(row), self.costs.n)
        models = tuple(np.asarray(x) for x in versions(self.sent, version, self.reads))
        reply = self.actors[worker].work.remote(models, job, version, float(seconds) * self.scale)
        usual = self.costs.dense_bits if assign.dense else self.costs.message_bits
        up = usual if assign.bits is None else assign.bits
        before, self.computed[worker] = self.computed[worker], row[3] + self.computed[worker]
        timing, _ = acts(self.costs, assign, self.virtual, down=down, up=up, before=before)
        self.pending[reply] = _Pending(row, assign.bits or 0, timing)

    def arrive(self) -> tuple[list, Any, Timing]:
        """Waits for the next reply; the timing is what the cluster's would have been."""
        if not self.pending:
            raise NoProgressError("no worker has anything left to send")
        (reply, *_), _ = ray.wait(list(self.pending), num_returns=1)
        (row, bits, timing), messages = self.pending.pop(reply), ray.get(reply)
        self.virtual = max(self.virtual, timing.arrived)
        row[-1] = len(self.models) - 1
        self.totals[0] += row[3]
        # Of a job whose messages were lost on the way, only the last one is here.
        self.totals[1] += max(message_bits(messages), bits) if row[4] else 0
        self.rows.append(row)
        return row, messages, timing

    def act(self, actions: Any, row: list, messages: Any) -> None:
        """Carries out what the policy answered."""
        for action in actions:
            if isinstance(action, Assign):
                self.assign(action)
            elif isinstance(action, Count):
                row[WEIGHT] = action.weight
                job = single_job(Arrivals._make(row), self.costs.n)
                arrays = jax.tree.map(jnp.asarray, messages)
                self.total = self.functions.absorb(
                    self.total, arrays, job, row[VERSION], run=self.run
                )
            elif isinstance(action, Cancel):
                self.cancel(action.worker)
            else:
                k, budget = len(self.models) - 1, action.budget
                self.server, sent = self.functions.step(
                    self.server, self.total, row[PHASE], budget, k, run=self.run
                )
                self.total = jnp.zeros_like(self.total)
                self.models.append(self.server.x)
                self.sent.append(sent)
                ticks = round((time.monotonic() - self.begun) / TICK)
                self.moves.append((ticks, *self.totals, budget))

    def cancel(self, worker: int) -> None:
        """Forgets a running job: a live worker finishes it, and its reply is not read."""
        self.pending = {reply: job for reply, job in self.pending.items() if job.row[0] != worker}


def live(
    problem: Problem,
    method: Method,
    costs: Costs,
    *,
    steps: int,
    seed: int = 0,
    timeline_seed: int = 0,
    seconds_scale: float = 0.0,
) -> Live:
    """Runs a method on one Ray actor per worker, on a Ray that is already initialized.

    Args:
        problem: what is minimized; every worker holds it.
        method: the method, with its step size.
        costs: what the cluster would charge; its seconds are injected as delays.
        steps: server steps.
        seed: the data seed.
        timeline_seed: the seed of coins that change time or bits.
        seconds_scale: real seconds per virtual second; 0 lets workers answer as fast as they can.

    Returns:
        The schedule that was lived and the models.

    Raises:
        ConfigurationError: no server step is asked for, the problem has data for another number of
            workers, or Ray is not initialized.
    """
    if steps < 1:
        raise ConfigurationError(f"steps = {steps}; a live run takes at least one server step")
    check_workers(problem, costs.n)
    if not ray.is_initialized():
        raise ConfigurationError("Ray is not running; call ray.init(address='local') before")
    driver = _Driver(problem, method, costs, seed, seconds_scale)
    try:
        policy = method.policy(costs, problem.d).run(costs.n, timeline_seed)
        actions, messages = next(policy), None
        row: list = []
        while True:
            driver.act(actions, row, messages)
            if len(driver.models) > steps:
                break
            row, messages, timing = driver.arrive()
            actions = policy.send(Arrival(row[0], row[-1] - row[2], timing))
    finally:
        for actor in driver.actors:
            ray.kill(actor)
    schedule = Listed.recorded(costs.n, TICK, driver.rows, driver.moves)
    return Live(schedule, driver.models)
