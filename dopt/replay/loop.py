"""The compiled loop: one program for all chunks, vmapped over step sizes and data seeds.

Keys stay unbatched over step sizes, so one draw of noise serves the whole grid; coins and slots
come from the schedule and stay unbatched altogether, so a conditional stays a conditional.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from dopt.methods import Job, Memory, Method, Server, job_key, round_key
from dopt.problems import Problem
from dopt.replay.feeds import Feed, Turn


class Carry(NamedTuple):
    """What R × G runs (data seeds, step sizes) carry from turn to turn.

    Axes `*runs` are R and G, without those of length 1, at which XLA is slow. `models[s]` is what
    the server has sent out in slot s (models, and what a method adds to them: D numbers), which lie
    side by side because they are read and written together. `total` is the weighted sum of the
    current step so far. Nothing grows with the number of workers unless the method keeps state on
    them.
    """

    server: Server
    workers: Memory
    models: Float[Array, "slots *runs D"]
    total: Float[Array, "*runs d"]


Each = Callable[[Callable], Callable]
"""From `f(method, key, *state)` of one run to the function of the states of all runs."""


def begin(method: Method, x: Float[Array, " d"], n: int, slots: int) -> Carry:
    """The state of one run before its first turn; version 0 is in slot 0."""
    memory = method.init(x)[1]
    workers = jax.tree.map(lambda a: jnp.broadcast_to(a, (n, *a.shape)), memory)
    server = method.start(x)
    sent = method.broadcast(server)
    models = jnp.broadcast_to(sent, (slots, *sent.shape))
    return Carry(server, workers, models, jnp.zeros_like(x))


def _gather(
    problem: Problem,
    method: Method,
    key: PRNGKeyArray,
    workers: Memory,
    models: tuple[Float[Array, " D"], ...],
    *,
    jobs: Job,
    version: Int[Array, ""],
    block: int,
) -> tuple[Memory, Float[Array, " d"]]:
    """The weighted sum of a batch of jobs, `block` of them side by side at a time."""
    coin = round_key(key, version)

    def some(workers: Memory, jobs: Job) -> tuple[Memory, Float[Array, " d"]]:
        keys = jax.vmap(partial(job_key, key))(jobs.worker, jobs.job)
        # Empty places have no weight, but the data they index must be there.
        there = (
            jobs
            if problem.n is None
            else replace(jobs, worker=jnp.minimum(jobs.worker, problem.n - 1))
        )
        memories = jax.tree.map(lambda a: a.at[jobs.worker].get(mode="clip"), workers)
        memories, total = method.gather(problem, memories, models, there, keys=keys, coin=coin)
        workers = jax.tree.map(
            lambda a, new: a.at[jobs.worker].set(new, mode="drop"), workers, memories
        )
        return workers, total

    P = jobs.worker.shape[0]
    if block >= P or method.sums_itself(jobs):
        return some(workers, jobs)
    count = -(-P // block)
    size = -(-P // count)

    def parts(a: Array, empty: int) -> Array:
        filled = jnp.concatenate([a, jnp.full(count * size - P, empty, a.dtype)])
        return filled.reshape(count, size)

    # Empty places: a worker that nothing is written to, and no weight.
    nobody = jnp.iinfo(jobs.worker.dtype).max
    padded = replace(
        jobs,
        worker=parts(jobs.worker, nobody),
        job=parts(jobs.job, 0),
        gradients=parts(jobs.gradients, 1),
        messages=parts(jobs.messages, 1),
        budget=parts(jobs.budget, 0),
        weight=parts(jobs.weight, 0),
    )

    def turn(carry: tuple, jobs: Job) -> tuple[tuple, None]:
        workers, total = carry
        workers, more = some(workers, jobs)
        return (workers, total + more), None

    return jax.lax.scan(turn, (workers, jnp.zeros(problem.d, models[0].dtype)), padded)[0]


def _step(
    method: Method,
    key: PRNGKeyArray,
    server: Server,
    total: Float[Array, " d"],
    *,
    phase: Int[Array, ""],
    budget: Int[Array, ""],
    k: Int[Array, ""],
) -> tuple[Server, Float[Array, " D"]]:
    """The server moves; its new state and what it sends out."""
    server = method.step(server, total, phase, budget, coin=round_key(key, k))
    return server, method.broadcast(server)


def _turn(problem: Problem, each: Each, carry: Carry, turn: Turn, block: int) -> Carry:
    server, workers, models, total = carry
    read = tuple(models[slot] for slot in turn.reads)
    nothing = jnp.zeros_like(total)
    sums = [] if turn.moves is None else [total]
    for jobs, present in turn.batches:
        gather = each(partial(_gather, problem, jobs=jobs, version=turn.version, block=block))
        if present is None:
            workers, more = gather(workers, read)
        else:
            workers, more = jax.lax.cond(
                present, gather, lambda workers, read: (workers, nothing), workers, read
            )
        sums.append(more)
    step = each(partial(_step, phase=turn.phase, budget=turn.budget, k=turn.k))

    def move(server: Server, models: Any, total: Any) -> tuple:
        server, sent = step(server, total)
        return server, jax.lax.dynamic_update_index_in_dim(models, sent, turn.write, 0), nothing

    total = reduce(jnp.add, sums)
    if turn.moves is None:
        server, models, _ = move(server, models, total)
        return Carry(server, workers, models, carry.total)
    server, models, total = jax.lax.cond(
        turn.moves, move, lambda *same: same, server, models, total
    )
    return Carry(server, workers, models, total)


@partial(jax.jit, static_argnames=("seeds", "n", "slots"))
def start(
    method: Method,
    step_sizes: Float[Array, " G"],
    x: Float[Array, " d"],
    *,
    seeds: int,
    n: int,
    slots: int,
) -> Carry:
    """The state of `seeds` × G runs before their first turn."""

    def run(size: Any) -> Carry:
        return begin(replace(method, step_size=size), x, n, slots)

    carry = jax.vmap(run)(step_sizes) if len(step_sizes) > 1 else run(step_sizes[0])
    if seeds > 1:
        carry = jax.tree.map(lambda a: jnp.broadcast_to(a, (seeds, *a.shape)), carry)
    return carry._replace(models=jnp.moveaxis(carry.models, -2, 0))


def _over_runs(method: Method, step_sizes: Float[Array, " G"], keys: Key[Array, " R"]) -> Each:
    """One draw of noise serves all step sizes: keys are not mapped over them."""
    inputs: list[tuple[Array, tuple]] = [(step_sizes, (0, None, 0)), (keys, (None, 0, 0))]
    given = [values if len(values) > 1 else values[0] for values, _ in inputs]

    def each(f: Callable) -> Callable:
        def one(step_size: Any, key: Any, state: tuple) -> Any:
            return f(replace(method, step_size=step_size), key, *state)

        run: Callable = one
        for values, axes in inputs:
            if len(values) > 1:
                run = jax.vmap(run, axes)
        return lambda *state: run(*given, state)

    return each


@partial(jax.jit, static_argnames=("block",), donate_argnames=("carry",))
def advance(
    problem: Problem,
    method: Method,
    step_sizes: Float[Array, " G"],
    keys: Key[Array, " R"],
    carry: Carry,
    feed: Feed,
    first: Int[Array, ""],
    last: Int[Array, ""],
    *,
    block: int,
) -> Carry:
    """Turns `first` to `last` of a feed, for R × G runs."""
    each = _over_runs(method, step_sizes, keys)

    def body(i: Int[Array, ""], carry: Carry) -> Carry:
        return _turn(problem, each, carry, feed.turn(i), block)

    return jax.lax.fori_loop(first, last, body, carry)


@jax.jit
def measure(
    problem: Problem, x: Float[Array, "R G d"]
) -> tuple[Float[Array, "R G"], Float[Array, "R G"], Float[Array, "R G"]]:
    """f(x), ‖∇f(x)‖² and the accuracy of every run; seeds one after another, to bound memory."""

    def one(x: Float[Array, " d"]) -> tuple[Array, Array, Array]:
        value, gradient = problem.value_and_grad(x)
        return value, jnp.vdot(gradient, gradient), problem.accuracy(x)

    return jax.lax.map(jax.vmap(one), x)
