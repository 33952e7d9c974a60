"""From a policy and a cluster to a schedule: exact, on the host, before any gradient exists."""

import numpy as np

from dopt.costs import Costs
from dopt.errors import ConfigurationError, NoProgressError
from dopt.policies import EveryArrival, FreshBatch, Policy, RoundPolicy
from dopt.schedule import Pattern, Repeated, Schedule, Steps
from simulators.clock import tick_seconds, to_ticks
from simulators.events import Engine, Limits
from simulators.observed import Observed, ObservedEngine
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
    """The schedule of a policy on a cluster.

    Args:
        policy: who computes what, which arrivals count, when the server moves.
        costs: what the cluster charges, from `Cluster.costs`.
        steps: at most this many server steps.
        seconds: at most this much virtual time.
        gradients: at most this many stochastic gradients, discarded ones included.
        seed: the timeline's seed, for coins that change time or bits.

    Raises:
        ConfigurationError: no limit, or one that is not positive.
        NoProgressError: the policy waits for ever. Where times vary only if it does so before the
            first server step: else the schedule ends there, and says so (`stuck`).
    """
    limits = checked(steps, seconds, gradients)
    if costs.varying or policy.observes:
        return ObservedEngine(policy, costs, seed).simulate(limits).schedule
    if isinstance(policy, RoundPolicy):
        return _rounds(policy, costs, limits, seed)
    if isinstance(policy, EveryArrival | FreshBatch) and is_stream(policy, costs):
        return stream(policy, costs, limits)
    return Engine(policy, costs, seed).simulate(limits)


def observe(
    policy: Policy,
    costs: Costs,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    gradients: int | None = None,
    seed: int = 0,
) -> Observed:
    """As `timeline`, act by act on any cluster, and when the acts of every arrival ended."""
    return ObservedEngine(policy, costs, seed).simulate(checked(steps, seconds, gradients))


def checked(steps: int | None, seconds: float | None, gradients: int | None) -> Limits:
    """The limits, at least one of them and all positive."""
    limits = Limits(steps, seconds, gradients)
    if all(limit is None for limit in limits):
        raise ConfigurationError("a timeline needs a limit: give steps, seconds or gradients")
    for name, limit in limits._asdict().items():
        if limit is not None and not limit > 0:
            raise ConfigurationError(f"{name} = {limit} must be positive")
    return limits


def _round_seconds(pattern: Pattern, costs: Costs, download: int) -> float:
    """Seconds of one round: those of its last worker."""
    seconds = costs.job_seconds(
        pattern.worker,
        pattern.gradients,
        pattern.messages,
        pattern.dense,
        download=True,
        bits=pattern.bits,
        download_bits=None if download == costs.dense_bits else download,
    )
    slowest = int(np.argmax(seconds))
    if not np.isfinite(seconds[slowest]):
        raise NoProgressError(
            f"worker {pattern.worker[slowest]} never answers (its time is infinite) and every "
            "round waits for it; leave it out of the cluster"
        )
    return float(seconds[slowest])


def _rounds(policy: RoundPolicy, costs: Costs, limits: Limits, seed: int) -> Repeated:
    """The closed form: a round takes what its slowest worker takes."""
    tick = tick_seconds(costs)
    patterns = policy.patterns
    whole = costs.dense_bits
    news = [whole if pattern.download is None else pattern.download for pattern in patterns]
    seconds = np.array(
        [_round_seconds(pattern, costs, bits) for pattern, bits in zip(patterns, news, strict=True)]
    )
    spent = np.zeros((len(patterns), 3), np.int64)
    for row, pattern, download in zip(spent, patterns, news, strict=True):
        bits = np.where(pattern.dense, costs.dense_bits, costs.message_bits)
        bits = bits if pattern.bits is None else np.full_like(bits, pattern.bits)
        downloads = np.count_nonzero(pattern.messages)
        row[:] = pattern.gradients.sum(), pattern.messages @ bits, downloads * download
    # Of a cycle some rounds may compute nothing; all of its rounds together do.
    gradients = float(spent[:, 0].min() or spent[:, 0].mean())
    K = _most_rounds(float(seconds.min()), gradients, limits)
    which = policy.choices(K, seed)
    # Rounds of each kind so far; times are their sum, rounded once, so that no error adds up.
    counts = np.zeros((K + 1, len(patterns)), np.int64)
    np.cumsum(which[:, None] == np.arange(len(patterns)), axis=0, out=counts[1:])
    time = counts @ seconds
    totals = counts @ spent
    if K and news[which[0]] not in (0, whole):  # a worker's first model is whole
        first = patterns[which[0]]
        time[1:] += _round_seconds(first, costs, whole) - seconds[which[0]]
        totals[1:, 2] += np.count_nonzero(first.messages) * (whole - news[which[0]])
    to_ticks(float(time[-1]), tick)
    ticks = np.floor(time / tick + 0.5).astype(np.int64)
    fits = np.ones(K + 1, np.bool_)
    if limits.seconds is not None:
        fits &= ticks <= limits.seconds / tick
    if limits.gradients is not None:
        fits &= totals[:, 0] <= limits.gradients
    gradients, bits_up, bits_down = totals.T
    rows = Steps(ticks, gradients, bits_up, bits_down, np.zeros(K + 1, np.int64))
    schedule = Repeated(costs.n, tick, rows, patterns, which)
    return schedule.until(int(fits.sum()) - 1)


def _most_rounds(seconds: float, gradients: float, limits: Limits) -> int:
    """No more rounds than this can fit, if each took the least of every kind of round."""
    bounds = []
    if limits.steps is not None:
        bounds.append(limits.steps)
    if limits.seconds is not None and seconds:
        bounds.append(int(limits.seconds / seconds) + 1)
    if limits.gradients is not None:
        bounds.append(int(limits.gradients / gradients) + 1)
    if not bounds or min(bounds) > LONGEST:
        raise ConfigurationError(
            f"more than {LONGEST} rounds fit into this timeline; give steps= or a shorter limit"
        )
    return min(bounds)
