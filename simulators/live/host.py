"""What runs in a process: several workers, their memories, and the functions they run on request.

A worker does its jobs one after another. What it computes takes the one thread that all workers of
a process share; what is left of a job's time it waits, and others compute meanwhile.
"""

import asyncio
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dopt.methods import Memory, Method
from dopt.problems import Problem
from dopt.replay.plain import Functions, single_job
from dopt.schedule import Arrivals


Row = Sequence[Any]
"""A row of `Arrivals`."""


class _Worker:
    """A worker: its memory, whose turn it is among its jobs, and the last job that was dropped."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.turn, self.dropped = 0, -1
        self.changed = asyncio.Condition()

    async def wait(self, job: int) -> None:
        """Until the jobs before this one are over: Ray does not keep the order of calls."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.turn == job)

    async def rest(self, job: int, seconds: float) -> None:
        """So long, or until the job is dropped."""
        async with self.changed:
            dropped = self.changed.wait_for(lambda: job <= self.dropped)
            try:
                await asyncio.wait_for(dropped, max(0.0, seconds))
            except TimeoutError:
                return

    async def end(self, job: int) -> None:
        """The job is over."""
        async with self.changed:
            self.turn = job + 1
            self.changed.notify_all()

    async def drop(self, job: int) -> None:
        """This job and those before it are of no use any more."""
        async with self.changed:
            self.dropped = max(self.dropped, job)
            self.changed.notify_all()


class Host:
    """The actor: the workers of one process."""

    def __init__(self, x64: bool) -> None:
        # Before any array is unpacked: JAX would cut its 64 bits to 32.
        jax.config.update("jax_enable_x64", x64)
        self.thread = ThreadPoolExecutor(1)

    async def begin(
        self,
        problem: Problem,
        method: Method,
        x: Any,
        seed: int,
        workers: Sequence[int],
        n: int,
        rows: Sequence[Row],
        *models: Any,
    ) -> list[Any]:
        """What every job of the run needs; does these jobs once, so that they are compiled.

        Answers with their messages.
        """
        self.functions, self.n = Functions(problem, method), n
        memory = method.init(jnp.asarray(x))[1]
        self.run = jax.random.key(seed)
        self.workers = {worker: _Worker(memory) for worker in workers}
        return [self._compute(_Worker(memory), Arrivals._make(row), models) for row in rows]

    async def work(self, row: Row, seconds: float, *models: Any) -> Any:
        """One job; takes at least `seconds`. Answers with packed messages."""
        begun = time.monotonic()
        arrival = Arrivals._make(row)
        worker, job = self.workers[int(arrival.worker)], int(arrival.job)
        await worker.wait(job)
        messages = None
        try:
            if job > worker.dropped:
                loop = asyncio.get_running_loop()
                messages = await loop.run_in_executor(
                    self.thread, self._compute, worker, arrival, models
                )
                await worker.rest(job, seconds - (time.monotonic() - begun))
        finally:
            await worker.end(job)
        return messages

    def _compute(self, worker: _Worker, row: Arrivals, models: tuple[Any, ...]) -> Any:
        read = tuple(jnp.asarray(x) for x in models)
        worker.memory, messages = self.functions.work(
            worker.memory, read, single_job(row, self.n), int(row.version), run=self.run
        )
        return jax.tree.map(np.asarray, messages)

    async def cancel(self, worker: int, job: int) -> None:
        """The worker drops a job: what is left of its time is not waited for."""
        await self.workers[worker].drop(job)

    async def peak(self) -> int:
        """The peak resident memory of this process in bytes."""
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most
