"""The compiled loop: one program for all chunks, vmapped over step sizes and data seeds.

Keys stay unbatched over step sizes, so one draw of noise serves the whole grid; coins and slots
come from the schedule and stay unbatched altogether, so a conditional stays a conditional.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from dopt.methods import Job, Memory, Method, Server, job_key
from dopt.problems import Problem
from dopt.replay.feeds import Feed, Turn


class Carry(NamedTuple):
    """What one run carries from turn to turn.

    `models[s]` is the model in slot s, `total` the weighted sum of the current step so far. Nothing
    grows with the number of workers unless the method keeps state on them.
    """

    server: Server
    workers: Memory
    models: Float[Array, "slots d"]
    total: Float[Array, " d"]


def begin(method: Method, x: Float[Array, " d"], n: int, slots: int) -> Carry:
    """The state of one run before its first turn; version 0 is in slot 0."""
    memory = method.init(x)[1]
    workers = jax.tree.map(lambda a: jnp.broadcast_to(a, (n, *a.shape)), memory)
    models = jnp.broadcast_to(x, (slots, *x.shape))
    return Carry(method.start(x), workers, models, jnp.zeros_like(x))


def _gather(
    problem: Problem,
    method: Method,
    key: PRNGKeyArray,
    workers: Memory,
    models: tuple[Float[Array, " d"], ...],
    jobs: Job,
    block: int,
) -> tuple[Memory, Float[Array, " d"]]:
    """The weighted sum of a batch of jobs, `block` of them side by side at a time."""

    def some(workers: Memory, jobs: Job) -> tuple[Memory, Float[Array, " d"]]:
        keys = jax.vmap(partial(job_key, key))(jobs.worker, jobs.job)
        # Empty places have no weight, but the data they index must be there.
        there = (
            jobs
            if problem.n is None
            else replace(jobs, worker=jnp.minimum(jobs.worker, problem.n - 1))
        )
        memories = jax.tree.map(lambda a: a.at[jobs.worker].get(mode="clip"), workers)
        memories, total = method.gather(problem, memories, models, there, keys=keys)
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
        weight=parts(jobs.weight, 0),
    )

    def turn(carry: tuple, jobs: Job) -> tuple[tuple, None]:
        workers, total = carry
        workers, more = some(workers, jobs)
        return (workers, total + more), None

    return jax.lax.scan(turn, (workers, jnp.zeros_like(models[0])), padded)[0]


def _turn(
    problem: Problem, method: Method, key: PRNGKeyArray, carry: Carry, turn: Turn, block: int
) -> Carry:
    server, workers, models, total = carry
    read = tuple(models[slot] for slot in turn.reads)
    nothing = jnp.zeros_like(total)
    for jobs, present in turn.batches:
        if present is None:
            workers, more = _gather(problem, method, key, workers, read, jobs, block)
        else:
            workers, more = jax.lax.cond(
                present,
                lambda w, jobs=jobs: _gather(problem, method, key, w, read, jobs, block),
                lambda w: (w, nothing),
                workers,
            )
        total = total + more

    def move(server: Server, models: Any, total: Any) -> tuple:
        server = method.step(server, total, turn.dense)
        models = models.at[turn.write].set(server.x, mode="drop")
        return server, models, nothing

    if turn.moves is None:
        server, models, total = move(server, models, total)
    else:
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
    lane = jax.vmap(lambda size: begin(replace(method, step_size=size), x, n, slots))
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (seeds, *a.shape)), lane(step_sizes))


def _over(count: int, f: Callable, axes: tuple[int | None, ...]) -> Callable:
    """`f` over runs side by side; alone it is not mapped, since XLA is slow at axes of length 1."""
    if count > 1:
        return jax.vmap(f, in_axes=axes)

    def alone(*arguments: Any) -> Any:
        own = (
            argument if axis is None else jax.tree.map(lambda a: a[0], argument)
            for argument, axis in zip(arguments, axes, strict=True)
        )
        return jax.tree.map(lambda a: a[None], f(*own))

    return alone


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
    """Turns `first` to `last` of a feed, for R × G runs (leading axes of `carry`)."""

    def body(i: Int[Array, ""], carry: Carry) -> Carry:
        turn = feed.turn(i)

        def lane(step_size: Any, key: Any, carry: Any) -> Any:
            one = replace(method, step_size=step_size)
            return _turn(problem, one, key, carry, turn, block)

        sizes = _over(len(step_sizes), lane, (0, None, 0))
        return _over(len(keys), sizes, (None, 0, 0))(step_sizes, keys, carry)

    return jax.lax.fori_loop(first, last, body, carry)


@jax.jit
def measure(
    problem: Problem, x: Float[Array, "R G d"]
) -> tuple[Float[Array, "R G"], Float[Array, "R G"]]:
    """f(x) and ‖∇f(x)‖² of every run; the seeds one after another, to bound memory."""

    def one(x: Float[Array, " d"]) -> tuple[Array, Array]:
        value, gradient = problem.value_and_grad(x)
        return value, jnp.vdot(gradient, gradient)

    return jax.lax.map(jax.vmap(one), x)
