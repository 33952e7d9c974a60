"""Many runs of a method step by step, with the memories of its server and of its workers."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from dopt.costs import Costs
from dopt.methods import Memory, Method
from dopt.problems import Problem
from dopt.replay.feeds import Feed, Feeder
from dopt.replay.loop import Carry, advance, start
from dopt.replay.plain import check_workers
from dopt.schedule import Listed
from simulators import timeline
from theory_checks.estimators import Comparison


class Trajectories(NamedTuple):
    """R runs of K server steps; entry k of the axes of length K + 1 is what there is before step k.

    `server` and `workers` are the method's memories, pytrees of arrays (R, K + 1, ...) and
    (R, K + 1, n, ...). Runs of one timeline stand next to each other.
    """

    x: Float[np.ndarray, "R states d"]
    server: Memory
    workers: Memory
    value: Float[np.ndarray, "R states"]
    grad: Float[np.ndarray, "R states d"]
    local: Float[np.ndarray, "R states n d"]


def record(
    problem: Problem,
    method: Method,
    costs: Costs,
    *,
    steps: int,
    timelines: int,
    seeds: int,
    seed: int = 0,
    x0: Float[Array, " d"] | None = None,
) -> Trajectories:
    """Runs of a method whose server steps are rounds, by the program that replays run.

    Args:
        problem: what is minimized.
        method: the method, with its step size.
        costs: what the cluster charges.
        steps: K.
        timelines: seeds of the timeline, which decide coins and who takes part.
        seeds: data seeds on each timeline, at least 2; no two runs have the same.
        seed: other seeds give other runs.
        x0: the starting point; the problem's own by default.
    """
    check_workers(problem, costs.n)
    first = problem.start() if x0 is None else jnp.asarray(x0, problem.dtype)
    sizes = jnp.asarray([method.step_size], first.dtype)
    turns, everyone = (jnp.arange(count, dtype=jnp.int32) for count in (steps, costs.n))
    policy, runs = method.policy(costs, problem.d), []
    for number in range(seed * timelines, (seed + 1) * timelines):
        schedule = timeline(policy, costs, steps=steps, seed=number)
        if isinstance(schedule, Listed) and not method.stateful:
            schedule = schedule.pruned()
        feeder = Feeder(schedule, method.reads, "rounds")
        data = jnp.arange(number * seeds, (number + 1) * seeds)
        keys = jax.vmap(jax.random.key)(data)
        carry = start(method, sizes, first, seeds=seeds, n=costs.n, slots=feeder.slots)
        feed = feeder.feed(0, steps, steps)
        states = _states(problem, method, sizes, keys, carry, feed, turns, block=costs.n)
        runs.append(jax.tree.map(np.asarray, states))
    x, server, workers = jax.tree.map(lambda *parts: np.concatenate(parts), *runs)
    value, grad, local = jax.tree.map(np.asarray, _gradients(problem, x, everyone))
    return Trajectories(x, server, workers, value, grad, local)


def over_timelines(
    draws: Float[np.ndarray, " R"], timelines: int, expected: float, rounding: float
) -> Comparison:
    """The mean over runs; its error is that of the means of timelines, and at least `rounding`."""
    units = draws.reshape(timelines, -1).mean(axis=1)
    mean = float(units.mean())
    error = max(float(units.std(ddof=1)) / timelines**0.5, rounding)
    return Comparison(mean, error, expected, (mean - expected) / error)


@partial(jax.jit, static_argnames=("block",))
def _states(
    problem: Problem,
    method: Method,
    sizes: Float[Array, " 1"],
    keys: Key[Array, " R"],
    carry: Carry,
    feed: Feed,
    turns: Int[Array, " K"],
    *,
    block: int,
) -> tuple[Float[Array, "R states d"], Memory, Memory]:
    """Models and memories before every step and after the last one."""

    def kept(carry: Carry) -> Any:
        return carry.server.x, carry.server.memory, carry.workers

    def turn(carry: Carry, k: Array) -> tuple[Carry, Any]:
        carry = advance(problem, method, sizes, keys, carry, feed, k, k + 1, block=block)
        return carry, kept(carry)

    later = jax.lax.scan(turn, carry, turns)[1]
    return jax.tree.map(
        lambda now, then: jnp.moveaxis(jnp.concatenate([now[None], then]), 0, 1),
        kept(carry),
        later,
    )


@jax.jit
def _gradients(
    problem: Problem, x: Float[Array, "R states d"], workers: Int[Array, " n"]
) -> tuple[Float[Array, "R states"], Float[Array, "R states d"], Float[Array, "R states n d"]]:
    """f, ∇f and all ∇f_i at every model."""

    def one(x: Array) -> tuple[Array, Array, Array]:
        value, gradient = problem.value_and_grad(x)
        return value, gradient, jax.vmap(lambda i: problem.local_grad(x, i))(workers)

    return jax.lax.map(jax.vmap(one), x)
