"""The plain replay: one job after another, through the packed messages that live workers send.

`Functions` are the compiled pieces that a live run calls on its workers and on its server; calling
them in the order of a recorded schedule gives the live run's numbers bit for bit. Nothing is
fused, vmapped or skipped, which makes it the slow and readable reference of `replay`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import Budgeted, Compressor, Message, message_key
from dopt.errors import ConfigurationError
from dopt.methods import Job, Memory, Method, Server, job_key, round_key, streams
from dopt.problems import Problem
from dopt.schedule import Arrivals, Listed


@dataclass(frozen=True)
class Functions:
    """`work`, `absorb` and `step` of a method on a problem, compiled, with real messages."""

    problem: Problem
    method: Method

    def work(
        self,
        memory: Memory,
        models: tuple[Array, ...],
        job: Job,
        version: int,
        *,
        run: PRNGKeyArray,
    ) -> tuple[Memory, Message]:
        """One job at a version: the worker's new memory, and its m messages (leading axis m).

        A message within a budget is one, without that axis, and packed outside compiled code: its
        size depends on values.
        """
        compressor = self.method.compressor
        if isinstance(compressor, Budgeted):
            memory, vector = _vector(self.problem, self.method, memory, models, job, run)
            message = compressor.within(job.budget).encode(vector, key=_first_key(job, run))
            received = _received(compressor, message, job, len(vector), run)
            return _remember(self.method, memory, vector, received, job), message
        coin = _coin(run, version)
        memory, messages = _work(self.problem, self.method, memory, models, job, run, coin)
        sent = 1 if job.dense else int(job.messages)
        return memory, jax.tree.map(lambda a: a[:sent], messages)

    def absorb(
        self, total: Array, messages: Message, job: Job, version: int, *, run: PRNGKeyArray
    ) -> Float[Array, " d"]:
        """The step's weighted sum after one more job's messages."""
        compressor = self.method.compressor
        if isinstance(compressor, Budgeted):
            received = _received(compressor, messages, job, len(total), run)
            return total + job.weight.astype(total.dtype) * received
        coin = _coin(run, version)
        return _absorb(self.method, total, messages, job, run, coin)

    def step(
        self, server: Server, total: Array, phase: int, budget: int, k: int, *, run: PRNGKeyArray
    ) -> tuple[Server, Float[Array, " D"]]:
        """The server moves in step k; its new state and what it sends out."""
        whole = (jnp.asarray(number, jnp.int32) for number in (phase, budget))
        return _step(self.method, server, total, *whole, _coin(run, k))


def _first_key(job: Job, run: PRNGKeyArray) -> PRNGKeyArray:
    """The key of a job's first message."""
    return _key_of_first(job.worker, job.job, run)


@jax.jit
def _key_of_first(worker: Int[Array, ""], job: Int[Array, ""], run: PRNGKeyArray) -> PRNGKeyArray:
    return message_key(streams(job_key(run, worker, job))[1], 0)


def _received(
    compressor: Budgeted, message: Message, job: Job, d: int, run: PRNGKeyArray
) -> Float[Array, " d"]:
    """What a message within a budget stands for."""
    return compressor.within(job.budget).decode(message, key=_first_key(job, run), d=d)


@jax.jit
def _coin(run: PRNGKeyArray, version: Int[Array, ""] | int) -> PRNGKeyArray:
    return round_key(run, jnp.asarray(version, jnp.int32))


@jax.jit
def _work(
    problem: Problem,
    method: Method,
    memory: Memory,
    models: tuple[Array, ...],
    job: Job,
    run: PRNGKeyArray,
    coin: PRNGKeyArray,
) -> tuple[Memory, Message]:
    noise, stream = streams(job_key(run, job.worker, job.job))
    memory, vector = method.uplink(problem, memory, models, job, key=noise)
    if job.dense:
        return method.remember(memory, vector, vector, job), {"values": vector[None]}
    compressor = method.sender(job, coin=coin)

    def send(j: Any) -> Message:
        return compressor.encode(vector, key=message_key(stream, j))

    messages = jax.vmap(send)(jnp.arange(job.most_messages))
    received = _mean(compressor, messages, job.messages, stream, len(vector))
    return method.remember(memory, vector, received, job), messages


def _mean(
    compressor: Compressor, messages: Message, m: Array, stream: PRNGKeyArray, d: int
) -> Float[Array, " d"]:
    """The mean of the first `m` messages of a job."""

    def receive(j: Any, message: Message) -> Array:
        return compressor.decode(message, key=message_key(stream, j), d=d)

    count = jax.tree.leaves(messages)[0].shape[0]
    vectors = jax.vmap(receive)(jnp.arange(count), messages)
    there = jnp.arange(count)[:, None] < m
    return jnp.where(there, vectors, 0).sum(0) / m.astype(vectors.dtype)


@jax.jit
def _vector(
    problem: Problem,
    method: Method,
    memory: Memory,
    models: tuple[Array, ...],
    job: Job,
    run: PRNGKeyArray,
) -> tuple[Memory, Float[Array, " d"]]:
    noise, _ = streams(job_key(run, job.worker, job.job))
    return method.uplink(problem, memory, models, job, key=noise)


@jax.jit
def _remember(method: Method, memory: Memory, vector: Array, received: Array, job: Job) -> Memory:
    return method.remember(memory, vector, received, job)


@jax.jit
def _absorb(
    method: Method,
    total: Array,
    messages: Message,
    job: Job,
    run: PRNGKeyArray,
    coin: PRNGKeyArray,
) -> Float[Array, " d"]:
    _, stream = streams(job_key(run, job.worker, job.job))
    if job.dense:
        received = messages["values"][0]
    else:
        received = _mean(method.sender(job, coin=coin), messages, job.messages, stream, len(total))
    return total + job.weight.astype(total.dtype) * received


@jax.jit
def _step(
    method: Method,
    server: Server,
    total: Array,
    phase: Int[Array, ""],
    budget: Int[Array, ""],
    coin: PRNGKeyArray,
) -> tuple[Server, Float[Array, " D"]]:
    server = method.step(server, total, phase, budget, coin=coin)
    return server, method.broadcast(server)


def single_job(row: Arrivals, n: int) -> Job:
    """The job of one row of a schedule of n workers, with the exact number of messages as bound."""
    dense = bool(row.dense) or int(row.messages) == 0
    return Job(
        jnp.asarray(row.worker),
        jnp.asarray(row.job),
        jnp.asarray(row.gradients),
        jnp.asarray(row.messages),
        jnp.asarray(row.budget),
        jnp.asarray(row.weight),
        n=n,
        dense=dense,
        phase=int(row.phase),
        most_gradients=int(row.gradients) and 1 << (int(row.gradients) - 1).bit_length(),
        most_messages=1 if dense else int(row.messages),
    )


def check_workers(problem: Problem, n: int) -> None:
    """Raises `ConfigurationError` unless the problem has data for each of `n` workers."""
    if problem.n not in (None, n):
        raise ConfigurationError(
            f"the cluster has {n} workers and the problem has data for {problem.n}; "
            f"take {problem.n} workers, or cut the data into {n} parts"
        )


def plain_replay(
    problem: Problem,
    method: Method,
    schedule: Listed,
    *,
    seed: int = 0,
    x0: Array | None = None,
    on_message: Callable[[Arrivals, Message], None] | None = None,
) -> list[Float[Array, " d"]]:
    """The models x⁰, ..., x^K of one run, computed job by job with packed messages.

    `on_message` is called with the row of each job and what it sends.
    """
    check_workers(problem, schedule.n)
    step_size = jnp.asarray(method.step_size)
    functions = Functions(problem, replace(method.computing(), step_size=step_size))
    run = jax.random.key(seed)
    x = problem.start() if x0 is None else x0
    server, memory = functions.method.start(x), functions.method.init(x)[1]
    memories = [memory] * schedule.n
    models, sent, total = [x], [functions.method.broadcast(server)], jnp.zeros_like(x)
    a = schedule.arrivals
    for index in range(len(a.step)):
        row = Arrivals(*(column[index] for column in a))
        if row.weight or method.stateful:
            job, version, worker = single_job(row, schedule.n), int(row.version), int(row.worker)
            read = versions(sent, version, method.reads)
            memories[worker], messages = functions.work(
                memories[worker], read, job, version, run=run
            )
            if on_message is not None:
                on_message(row, messages)
            if row.weight:
                total = functions.absorb(total, messages, job, version, run=run)
        if index + 1 == len(a.step) or a.step[index + 1] > row.step:
            k = int(row.step)
            budget = int(schedule.steps.budget[k + 1])
            server, out = functions.step(server, total, int(row.phase), budget, k, run=run)
            models.append(server.x)
            sent.append(out)
            total = jnp.zeros_like(total)
    return models


def versions(models: Sequence[Array], version: int, reads: int) -> tuple[Array, ...]:
    """What was sent out as a version and those before it, newest first."""
    return tuple(models[max(version - back, 0)] for back in range(reads))


def message_bits(messages: Message) -> int:
    """Bits of the arrays of a job's messages: what travels."""
    return sum(8 * np.asarray(a).nbytes for a in jax.tree.leaves(messages))
