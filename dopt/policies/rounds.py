"""Rounds: the server waits for everyone it asked, moves, and asks again."""

import abc
import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int

from dopt.errors import ConfigurationError
from dopt.policies._base import Action, Arrival, Assign, Count, Policy, Run, Step
from dopt.schedule import Pattern


def pattern(
    workers: Iterable[int] | Int[np.ndarray, " P"],
    *,
    gradients: int | Int[np.ndarray, " P"] = 1,
    messages: int | Int[np.ndarray, " P"] = 1,
    dense: bool | Bool[np.ndarray, " P"] = False,
    weight: float | Float[np.ndarray, " P"],
    bits: int | None = None,
    download: int | None = None,
) -> Pattern:
    """The pattern of a round; scalars are the same for every worker."""
    worker = np.fromiter(workers, np.int32)
    if not len(worker):
        raise ConfigurationError("a round needs at least one worker, got none")

    def column(value: object, dtype: type) -> npt.NDArray:
        return np.broadcast_to(np.asarray(value, dtype), worker.shape).copy()

    return Pattern(
        worker,
        column(gradients, np.int64),
        column(messages, np.int64),
        column(dense, np.bool_),
        column(weight, np.float64),
        bits,
        download,
    )


def assignments(pattern: Pattern, phase: int) -> list[Assign]:
    """What the workers of a round are asked to do, in the pattern's order."""
    columns = zip(*(column.tolist() for column in pattern[:4]), strict=True)
    return [
        Assign(
            *(worker, gradients, messages, dense),
            phase=phase,
            bits=pattern.bits,
            download=pattern.download,
        )
        for worker, gradients, messages, dense in columns
    ]


def weights_of(pattern: Pattern) -> dict[int, float]:
    """The weight of every worker of a round."""
    return dict(zip(pattern.worker.tolist(), pattern.weight.tolist(), strict=True))


def _round(
    actions: list[Action], asked: list[Assign], weights: dict[int, float]
) -> Generator[Sequence[Action], Arrival, list[Action]]:
    """Asks, after what is to be done first, and counts all answers; returns how the round ends."""
    actions = [*actions, *asked]
    for _ in asked:
        arrival = yield actions
        actions = [Count(weights[arrival.worker])]
    return [*actions, Step()]


class RoundPolicy(Policy):
    """Rounds of the same workers, each after one of a few patterns; its place is its phase."""

    @property
    @abc.abstractmethod
    def patterns(self) -> tuple[Pattern, ...]:
        """The patterns; all have the same workers."""

    @abc.abstractmethod
    def phases(self, seed: int) -> Iterator[int]:
        """Which pattern each round follows, without end."""

    def choices(self, K: int, seed: int) -> npt.NDArray[np.int8]:
        """Which pattern the first `K` rounds follow. A longer run begins with the same."""
        return np.fromiter(itertools.islice(self.phases(seed), K), np.int8, K)

    def run(self, n: int, seed: int) -> Run:
        """See `Policy.run`."""
        asked = [assignments(pattern, phase) for phase, pattern in enumerate(self.patterns)]
        weights = [weights_of(pattern) for pattern in self.patterns]
        actions: list[Action] = []
        for phase in self.phases(seed):
            actions = yield from _round(actions, asked[phase], weights[phase])


@dataclass(frozen=True, eq=False)
class Rounds(RoundPolicy):
    """Every round follows `usual`, or `full` in the first round and later with probability `p`.

    The coin is one for all workers and comes from the timeline's seed, so that the timeline knows
    which rounds take longer without seeing a value (MARINA).
    """

    usual: Pattern
    full: Pattern | None = None
    p: float = 0.0

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """`usual`, and `full` where there is one."""
        return (self.usual,) if self.full is None else (self.usual, self.full)

    def phases(self, seed: int) -> Iterator[int]:
        """The coins: 1 for a full round."""
        if self.full is None:
            return itertools.repeat(0)
        return full_rounds(self.p, np.random.default_rng(seed))


def full_rounds(p: float, rng: np.random.Generator) -> Iterator[int]:
    """1 at first and later with probability `p`, else 0; a number of `rng` is drawn each round."""
    rng.random()
    yield 1
    while True:
        yield int(rng.random() < p)


@dataclass(frozen=True, eq=False)
class Cycle(RoundPolicy):
    """The rounds follow the patterns in turn: an iteration takes as many rounds as there are."""

    turns: tuple[Pattern, ...]

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """Those of an iteration."""
        return self.turns

    def phases(self, seed: int) -> Iterator[int]:
        """0, 1, … and again."""
        return itertools.cycle(range(len(self.turns)))


@dataclass(frozen=True, eq=False)
class SampledRounds(Policy):
    """As `Rounds`, but a usual round asks only `r` of its workers, drawn without replacement.

    Coins and samples come from the timeline's seed; the coins are those of `Rounds`.
    """

    usual: Pattern
    r: int
    full: Pattern | None = None
    p: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.r <= len(self.usual.worker):
            raise ConfigurationError(
                f"r = {self.r} of {len(self.usual.worker)} workers cannot take part in a round; "
                "give at least one and at most all"
            )

    def run(self, n: int, seed: int) -> Run:
        """See `Policy.run`."""
        coins, samples = np.random.default_rng(seed), np.random.default_rng([seed, 1])
        phases = itertools.repeat(0) if self.full is None else full_rounds(self.p, coins)
        actions: list[Action] = []
        for phase in phases:
            now = self.usual
            if phase and self.full is not None:
                now = self.full
            else:
                drawn = samples.choice(len(now.worker), self.r, replace=False, shuffle=False)
                now = now.rows(np.sort(drawn))
            actions = yield from _round(actions, assignments(now, phase), weights_of(now))
