"""Timelines of streams without a heap: every worker computes without pause, nothing is cancelled.

With fixed times the arrivals of worker i are at s_i, 2·s_i, 3·s_i, …, whatever the server does. So
all arrivals are progressions merged by one sort, and which of them count follows from their order:

    begun[a]   the arrival after which the job of arrival a began (−1: at the start)
    moved[a]   server steps up to and with arrival a
    version    what a job read: moved[begun[a]], 0 at the start
    delay      steps between the reading and the arrival: moved[a − 1] − version

The heap of `events.py` is the reference.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.policies import EveryArrival, FreshBatch, Policy
from dopt.schedule import Arrivals, Listed, Steps
from simulators.clock import tick_seconds, to_ticks
from simulators.events import Limits


MOST = 50_000_000
"""Arrivals that a timeline may have at most; more are refused before memory runs out."""


class _Order(NamedTuple):
    """Arrivals sorted by (tick, worker), as columns."""

    tick: npt.NDArray[np.int64]
    worker: npt.NDArray[np.int32]
    job: npt.NDArray[np.int32]
    begun: npt.NDArray[np.int64]


def is_stream(policy: Policy, costs: Costs) -> bool:
    """Whether arrivals are fixed progressions: no job is cancelled, none takes no time.

    A worker that finds the model unchanged does not download it again, which only asynchronous
    methods exclude; elsewhere downloads must be free.
    """
    if isinstance(policy, FreshBatch):
        steady = not policy.stop and not costs.tau_down.any()
    else:
        steady = isinstance(policy, EveryArrival)
    seconds = _job_seconds(costs)
    return steady and bool((seconds > 0).all()) and bool(np.isfinite(seconds).any())


def stream(policy: EveryArrival | FreshBatch, costs: Costs, limits: Limits) -> Listed:
    """The schedule of a stream up to the first limit that the next server step would pass."""
    each = policy.batch if isinstance(policy, FreshBatch) else 1
    fit = np.inf if limits.gradients is None else limits.gradients
    if limits.seconds is not None:
        fit = min(fit, np.floor(limits.seconds / _job_seconds(costs)).sum() + costs.n)
    wanted = fit if limits.steps is None else min(fit, each * limits.steps)
    while True:
        if wanted > MOST:
            raise ConfigurationError(
                f"more than {MOST} arrivals come before the limit of this timeline; give a "
                "shorter one"
            )
        order = _merge(costs, int(wanted), limits.seconds)
        trigger, version, weight = _count(policy, order)
        if limits.steps is not None:
            trigger = trigger[: limits.steps]
        if len(trigger) == limits.steps or wanted >= fit:
            return _listed(costs, order, trigger, version, weight)
        # Some were discarded, so that more are needed than there are steps.
        wanted = min(fit, 2 * wanted)


def _job_seconds(costs: Costs) -> npt.NDArray[np.float64]:
    return costs.job_seconds(np.arange(costs.n), 1, 1, True, download=True)


def _merge(costs: Costs, wanted: int, seconds: float | None) -> _Order:
    """The first `wanted` arrivals, or those that come within the seconds."""
    each, tick = _job_seconds(costs), tick_seconds(costs)
    running = np.flatnonzero(np.isfinite(each))
    each = each[running]
    horizon = _time_of(wanted, each)
    if seconds is not None:
        horizon = min(horizon, seconds)
    # One link more than the horizon needs: its last end may round across the limit.
    links = np.floor(horizon / each).astype(np.int64) + 1
    to_ticks(float((links * each).max()), tick)
    chain = np.repeat(np.arange(len(running), dtype=np.int32), links)
    link = np.arange(1, len(chain) + 1) - (np.cumsum(links) - links)[chain]
    ticks = np.floor(link * each[chain] / tick + 0.5).astype(np.int64)
    # Chains lie in the order of their workers, so a stable sort breaks ties by worker.
    order = np.argsort(ticks, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    before = np.empty_like(order)
    before[1:] = place[:-1]
    before[link == 1] = -1
    ticks = ticks[order]
    cut = wanted
    if seconds is not None:
        cut = min(cut, int(np.searchsorted(ticks, seconds / tick, side="right")))
    order = order[:cut]
    return _Order(
        ticks[:cut],
        running.astype(np.int32)[chain[order]],
        (link[order] - 1).astype(np.int32),
        before[order],
    )


def _time_of(count: int, each: npt.NDArray[np.float64]) -> float:
    """A time by which `count` arrivals are there, and hardly more."""
    low, high = 0.0, (count + len(each)) / float(np.sum(1 / each))
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if np.floor(middle / each).sum() >= count:
            high = middle
        else:
            low = middle
    return high


def _count(
    policy: EveryArrival | FreshBatch, order: _Order
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The arrivals that end the server steps; what every arrival had read; its weight."""
    if isinstance(policy, FreshBatch):
        trigger = _batches(policy.batch, order.begun)
        moves = np.zeros(len(order.begun), np.bool_)
        moves[trigger] = True
    elif policy.max_delay is None:
        moves = np.ones(len(order.begun), np.bool_)
    else:
        moves = _punctual(policy.max_delay, order.begun)
    moved = np.concatenate([[0], np.cumsum(moves)])
    version, step = moved[order.begun + 1], moved[:-1]
    delay = step - version
    weight = np.ones(len(delay))
    if isinstance(policy, FreshBatch):
        weight = np.where(delay == 0, 1.0 / policy.batch, 0.0)
    else:
        if policy.full_weight_until is not None:
            weight = policy.full_weight_until / np.maximum(delay, policy.full_weight_until)
        weight[~moves] = 0.0
    return np.flatnonzero(moves), version, weight


def _batches(batch: int, begun: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where batches of fresh arrivals fill: those whose job began at or after the last one."""
    triggers, last, width = [], -1, 2 * batch
    while True:
        fresh = np.flatnonzero(begun[last + 1 : last + 1 + width] >= last)
        if len(fresh) >= batch:
            last += 1 + int(fresh[batch - 1])
            triggers.append(last)
        elif last + 1 + width >= len(begun):
            return np.array(triggers, np.int64)
        else:
            width *= 2


def _punctual(max_delay: int, begun: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which arrivals are at most `max_delay` steps late; each depends on all before it."""
    moved = [0]
    for start in (begun + 1).tolist():
        now = moved[-1]
        moved.append(now + (now - moved[start] <= max_delay))
    return np.diff(moved).astype(np.bool_)


def _listed(
    costs: Costs,
    order: _Order,
    trigger: npt.NDArray[np.int64],
    version: npt.NDArray[np.int64],
    weight: npt.NDArray[np.float64],
) -> Listed:
    """The schedule: arrivals up to the last step, totals at each step."""
    used = int(trigger[-1]) + 1 if len(trigger) else 0
    ends = np.zeros(used, np.int64)
    ends[trigger] = 1
    after = np.cumsum(ends)
    # After arrival a its worker downloads again, unless the model is the one it has.
    downloads = costs.n + np.concatenate([[0], np.cumsum(after != version[:used])])
    start = np.zeros(1, np.int64)
    steps = Steps(
        np.concatenate([start, order.tick[trigger]]),
        np.concatenate([start, trigger + 1]),
        np.concatenate([start, (trigger + 1) * costs.dense_bits]),
        np.concatenate([start, downloads[trigger] * costs.dense_bits]),
        np.zeros(1 + len(trigger), np.int64),
    )
    one = np.broadcast_to(np.int64(1), used)
    arrivals = Arrivals(
        order.worker[:used],
        order.job[:used],
        version[:used],
        one,
        one,
        np.broadcast_to(np.True_, used),
        np.broadcast_to(np.int8(0), used),
        np.broadcast_to(np.int64(0), used),
        weight[:used],
        after - ends,
    )
    return Listed(costs.n, tick_seconds(costs), steps, arrivals)
