"""From a policy and a cluster to a schedule: exact, on the host, before any gradient exists."""

import numpy as np

from dopt.costs import Costs
from dopt.errors import ConfigurationError, NoProgressError
from dopt.policies import EveryArrival, FreshBatch, Policy, Rounds
from dopt.schedule import Pattern, Repeated, Schedule, Steps
from simulators.clock import tick_seconds, to_ticks
from simulators.events import Engine, Limits
from simulators.streams import is_stream, stream


LONGEST = 10_000_000
"""Rounds that a timeline may have at most; more are refused before memory runs out."""


def timeline(
    policy: Policy,
    costs: Costs,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    gradients: int | None = None,
    seed: int = 0,
) -> Schedule:
    """The schedule of a policy on a cluster of fixed times.

    Args:
        policy: who computes what, which arrivals count, when the server moves.
        costs: what the cluster charges, from `Cluster.costs`.
        steps: at most this many server steps.
        seconds: at most this much virtual time.
        gradients: at most this many stochastic gradients, discarded ones included.
        seed: the timeline's seed, for coins that change time or bits.

    Raises:
        ConfigurationError: no limit, or one that is not positive.
        NoProgressError: the policy waits for ever.
    """
    limits = Limits(steps, seconds, gradients)
    if all(limit is None for limit in limits):
        raise ConfigurationError("a timeline needs a limit: give steps, seconds or gradients")
    for name, limit in limits._asdict().items():
        if limit is not None and not limit > 0:
            raise ConfigurationError(f"{name} = {limit} must be positive")
    if isinstance(policy, Rounds):
        return _rounds(policy, costs, limits, seed)
    if isinstance(policy, EveryArrival | FreshBatch) and is_stream(policy, costs):
        return stream(policy, costs, limits)
    return Engine(policy, costs, seed).simulate(limits)


def _round_seconds(pattern: Pattern, costs: Costs) -> float:
    """Seconds of one round: those of its last worker."""
    seconds = costs.job_seconds(
        pattern.worker, pattern.gradients, pattern.messages, pattern.dense, download=True
    )
    slowest = int(np.argmax(seconds))
    if not np.isfinite(seconds[slowest]):
        raise NoProgressError(
            f"worker {pattern.worker[slowest]} never answers (its time is infinite) and every "
            "round waits for it; leave it out of the cluster"
        )
    return float(seconds[slowest])


def _rounds(policy: Rounds, costs: Costs, limits: Limits, seed: int) -> Repeated:
    """The closed form: a round takes what its slowest worker takes."""
    tick = tick_seconds(costs)
    patterns = (policy.usual,) if policy.dense is None else (policy.usual, policy.dense)
    seconds = np.array([_round_seconds(pattern, costs) for pattern in patterns])
    spent = np.zeros((len(patterns), 3), np.int64)
    for row, pattern in zip(spent, patterns, strict=True):
        bits = np.where(pattern.dense, costs.dense_bits, costs.message_bits)
        downloads = np.count_nonzero(pattern.messages)
        row[:] = pattern.gradients.sum(), pattern.messages @ bits, downloads * costs.dense_bits
    K = _most_rounds(float(seconds.min()), int(spent[:, 0].min()), limits)
    which = policy.coins(K, seed).astype(np.int8)
    # Rounds of each kind so far; times are their sum, rounded once, so that no error adds up.
    counts = np.zeros((K + 1, len(patterns)), np.int64)
    np.cumsum(which[:, None] == np.arange(len(patterns)), axis=0, out=counts[1:])
    time = counts @ seconds
    to_ticks(float(time[-1]), tick)
    ticks = np.floor(time / tick + 0.5).astype(np.int64)
    totals = counts @ spent
    fits = np.ones(K + 1, np.bool_)
    if limits.seconds is not None:
        fits &= ticks <= limits.seconds / tick
    if limits.gradients is not None:
        fits &= totals[:, 0] <= limits.gradients
    schedule = Repeated(costs.n, tick, Steps(ticks, *totals.T), patterns, which)
    return schedule.until(int(fits.sum()) - 1)


def _most_rounds(seconds: float, gradients: int, limits: Limits) -> int:
    """No more rounds than this can fit, if each took the least of every kind of round."""
    bounds = []
    if limits.steps is not None:
        bounds.append(limits.steps)
    if limits.seconds is not None and seconds:
        bounds.append(int(limits.seconds / seconds) + 1)
    if limits.gradients is not None:
        bounds.append(int(limits.gradients // gradients))
    if not bounds or min(bounds) > LONGEST:
        raise ConfigurationError(
            f"more than {LONGEST} rounds fit into this timeline; give steps= or a shorter limit"
        )
    return min(bounds)
