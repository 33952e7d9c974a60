"""What a policy is: host code that answers events with actions and never sees a gradient.

A policy runs as a coroutine. It is sent the arrivals, one at a time in order of `(tick, worker)`,
and answers with the actions to take now, in order. Its local variables are its state:

    def run(self, n, seed):
        arrival = yield [Assign(worker) for worker in range(n)]
        while True:
            arrival = yield [Count(), Step(), Assign(arrival.worker)]      # asynchronous SGD

The same coroutine is driven by the event engine in virtual time and by the live driver.
"""

import abc
from collections.abc import Generator, Sequence
from typing import ClassVar, NamedTuple


class Assign(NamedTuple):
    """The worker reads the current model, computes, and sends messages one after another.

    With `messages = 0` nothing travels at all: the server itself computes. `phase` says which of
    the method's kinds of work it is, where there are several (MARINA: differences 0, gradients 1).
    `budget` is what one message may have, in bits, where the method chooses its size by it. `bits`
    are those of one message where `Costs` does not know them, `download` those of the news of the
    model where they are fewer than a model's: a worker's first model is whole all the same, but
    with 0 nothing travels.
    """

    worker: int
    gradients: int = 1
    messages: int = 1
    dense: bool = False
    phase: int = 0
    budget: int = 0
    bits: int | None = None
    download: int | None = None


class Cancel(NamedTuple):
    """The worker drops what it is doing; what it has finished stays in the totals."""

    worker: int


class Count(NamedTuple):
    """The arrival just received counts in the current server step, with a weight."""

    weight: float = 1.0


class Step(NamedTuple):
    """The server moves: model version k becomes k + 1.

    `budget` is that of what it sends out next, in bits, where the method chooses its size by it.
    """

    budget: int = 0


class Timing(NamedTuple):
    """When the acts of a job ended, in virtual seconds, and the bits that travelled.

    The job was assigned at `start`, its model was there at `ready`, its gradients at `computed`,
    its last message at `arrived`. Bits are those of all its messages.
    """

    start: float
    ready: float
    computed: float
    arrived: float
    down_bits: int
    up_bits: int


class Arrival(NamedTuple):
    """A worker's last message has reached the server; `delay` counts the steps since it read.

    `timing` is there where the policy `observes`.
    """

    worker: int
    delay: int
    timing: Timing | None = None


Action = Assign | Cancel | Count | Step
Run = Generator[Sequence[Action], Arrival, None]


class Policy(abc.ABC):
    """Who computes what, which arrivals count, and when the server moves. A frozen dataclass.

    One that `observes` is told the timing of every job.
    """

    observes: ClassVar[bool] = False

    @abc.abstractmethod
    def run(self, n: int, seed: int) -> Run:
        """The coroutine for a cluster of `n` workers; `seed` is the timeline's, for coins."""
