"""What the studies of Kimad have in common: ladders, the time of a round, and who is compared.

Computing takes as long as a message of `share` of a dense one at the mean bandwidth. A round's time
t is so many times that long; methods that look at it may choose among several, as the fixed ratio
is chosen among several. Compared are

* Uncompressed: whole gradients up and whole models down;
* EF21, best fixed ratio: EF21 both ways with one ratio up and one down for all rounds, tuned in
  hindsight over equal ones, lower ones down, and those of the next row;
* EF21, same budget: the ratio nearest to the mean size of Kimad's messages on the same links, for
  each t;
* Kimad, which takes the rate of the last transfer for that of the next, and Kimad+ with a ratio for
  each layer (padded to its budget);
* Kimad, oracle: Kimad that knows what its links will carry.

With `--cluster` links do not vary: what is left to gain is a ratio for each worker, and a layer.

All but the first are one method with other budgets (`dopt.methods.Kimad`), so that they differ in
nothing else; workers know x⁰.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np

from compressors import Budgeted
from compressors.allocation import Allocation, Knapsack, Uniform
from compressors.ladders import TopKLadder
from dopt.errors import ConfigurationError
from dopt.methods import GradientDescent, Kimad, Method, MinibatchSGD
from dopt.monitors import LastTransfer, Monitor, Oracle
from dopt.policies import FixedBudget, RoundTime
from dopt.problems import Problem
from experiments.multiples import alone
from experiments.study import Entry, Limits, Variant
from simulators.timeline import observe
from simulators.varying import VaryingCluster


UNCOMPRESSED, BEST_FIXED, SAME_BUDGET = (
    "Uncompressed",
    "EF21, best fixed ratio",
    "EF21, same budget",
)
KIMAD, KIMAD_PLUS, ORACLE = "Kimad", "Kimad+", "Kimad, oracle"

ROUNDS_SEEN = 300
"""Rounds over which the mean size of Kimad's messages is taken."""


class Layers(NamedTuple):
    """The sizes of the layers, the ratios of their ladders, and their names."""

    sizes: tuple[int, ...]
    ratios: tuple[float, ...]

    def by(self, rule: Allocation) -> Budgeted:
        """The layers' compressors, chosen by a rule."""
        return Budgeted((TopKLadder(self.ratios),) * len(self.sizes), self.sizes, rule)

    @classmethod
    def of(cls, params: Any, ratios: tuple[float, ...]) -> "Layers":
        """A layer for each array of a network's parameters."""
        return cls(tuple(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)), ratios)


def ladder(least: float, rungs: int) -> tuple[float, ...]:
    """So many ratios from `least` to 1, each as many times the one before; of four digits.

    Raises:
        ConfigurationError: fewer than two rungs, or ratios that do not differ.
    """
    if not (rungs >= 2 and 0 < least < 1):
        raise ConfigurationError(
            f"{rungs} rungs from {least}: give at least 2, and a least ratio in (0, 1)"
        )
    ratios = tuple(float(f"{ratio:.4g}") for ratio in np.geomspace(least, 1.0, rungs))
    if len(set(ratios)) < rungs:
        raise ConfigurationError(f"{rungs} rungs from {least} are too many to differ")
    return ratios


def seconds_of(mean: float, share: float, problem: Problem) -> float:
    """h: the time of a message of `share` of a dense one, at `mean` bits a second; four digits."""
    if not 0 < share <= 1:
        raise ConfigurationError(f"share = {share}: give a share of a dense message in (0, 1]")
    dense = problem.d * 8 * np.dtype(problem.dtype).itemsize
    return float(f"{share * dense / mean:.4g}")


def check_times(times: Sequence[float]) -> None:
    """Refuses rounds that leave no time to send."""
    if not times or len(set(times)) < len(times) or min(times) <= 1 or max(times) == math.inf:
        raise ConfigurationError(
            f"times = {times}: give each round's time once, in gradients' times, above 1"
        )


def entries_of(
    problem: Problem,
    cluster: VaryingCluster,
    layers: Layers,
    *,
    seconds: Sequence[float],
    batch: int | None,
    fixed: Sequence[int],
) -> tuple[Entry, ...]:
    """The rows of the table of one regime.

    Args:
        problem: what is minimized.
        cluster: whose links vary.
        layers: of the model.
        seconds: what a round is to take, tuned over.
        batch: stochastic gradients of a worker in a round; `None` for exact ones.
        fixed: rungs that the best fixed ratio is looked for among.
    """

    def following(rule: Allocation, monitor: Monitor, t: float) -> Method:
        within = layers.by(rule)
        return Kimad(1.0, within, within, RoundTime(t, monitor), batch)

    def timed(label: str, rule: Allocation, monitor: Monitor) -> Entry:
        found = [Variant(f"t = {t:.3g} s", following(rule, monitor, t)) for t in seconds]
        return Entry(label, tuple(found))

    def at(up: int, down: int) -> Variant:
        within = layers.by(Uniform())
        sizes = within.header_bits + within.table(problem.dtype).sum(axis=0)
        ratios = [f"{layers.ratios[rung]:.3g}" for rung in dict.fromkeys((up, down))]
        budget = FixedBudget(int(sizes[up]), int(sizes[down]))
        return Variant(f"K/d = {', '.join(ratios)}", Kimad(1.0, within, within, budget, batch))

    means = [
        mean_rungs(problem, cluster, following(Uniform(), LastTransfer(), t), layers)
        for t in seconds
    ]
    pairs = dict.fromkeys([*equal_and_lower(fixed), *means])
    plain = GradientDescent(1.0) if batch is None else MinibatchSGD(1.0)
    return (
        alone(UNCOMPRESSED, Variant("dense", plain)),
        Entry(BEST_FIXED, tuple(at(*rungs) for rungs in pairs)),
        Entry(SAME_BUDGET, tuple(at(*rungs) for rungs in dict.fromkeys(means))),
        timed(KIMAD, Uniform(), LastTransfer()),
        timed(KIMAD_PLUS, Knapsack(), LastTransfer()),
        timed(ORACLE, Uniform(), Oracle()),
    )


def rows_and_limits(
    problem: Problem,
    cluster: VaryingCluster,
    layers: Layers,
    settings: Any,
    *,
    unit: float,
    batch: int | None,
) -> tuple[tuple[Entry, ...], Limits]:
    """The rows of one regime as a study's settings want them, and how long runs may take.

    Of the settings, times, every and rounds are read; `unit` is what times of a round count in: the
    seconds of a gradient.
    """
    entries = entries_of(
        problem,
        cluster,
        layers,
        seconds=[time * unit for time in settings.times],
        batch=batch,
        fixed=every(layers.ratios, settings.every),
    )
    return entries, Limits(seconds=4 * settings.rounds * unit, steps=settings.rounds)


def mean_rungs(
    problem: Problem, cluster: VaryingCluster, kimad: Method, layers: Layers
) -> tuple[int, int]:
    """The rungs, up and down, whose messages are nearest in size to the mean of Kimad's."""
    d, dtype = problem.d, problem.dtype
    bits = kimad.message_bits(d, dtype, cluster.n)
    costs = cluster.costs(d=d, dtype=dtype, message_bits=bits)
    timings = observe(kimad.policy(costs, d), costs, steps=ROUNDS_SEEN).timings
    sent = np.array([(timing.up_bits, timing.down_bits) for timing in timings], float)
    within = layers.by(Uniform())
    sizes = within.header_bits + within.table(dtype).sum(axis=0)
    means = sent[:, 0].mean(), sent[sent[:, 1] > 0, 1].mean()
    up, down = (int(np.argmin(np.abs(np.log(sizes / mean)))) for mean in means)
    return up, down


def equal_and_lower(fixed: Sequence[int]) -> list[tuple[int, int]]:
    """Rungs up and down: the same, and the next lower one down, since broadcasts wait for all."""
    return [(r, r) for r in fixed] + [(up, down) for down, up in pairwise(fixed)]


def every(ratios: Sequence[float], step: int) -> tuple[int, ...]:
    """Every `step`-th rung from the top down, in order."""
    return tuple(range(len(ratios) - 1, -1, -step))[::-1]
