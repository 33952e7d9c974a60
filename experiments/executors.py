"""Where the batches of a study are computed: in this process, or in many processes by Ray.

Both give the same rows; they differ in order, and in the columns that say what computed a run.
"""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from dopt.results import Status
from experiments.computing import Computed, Computing, Outcome, rows
from experiments.study import Batch, Study
from simulators.ray_tasks import SECONDS, Lost, Need, State, on_ray


class Executor(Protocol):
    """Computes batches and gives back their rows, in whatever order they are finished."""

    def __call__(
        self,
        batches: Sequence[Batch],
        on_share: Callable[[float, str], None],
        stopping: Callable[[], bool],
    ) -> Generator[tuple[Batch, Computed], None, None]:
        """Computes until all is done or it is asked to stop.

        Args:
            batches: those to compute; the ones that share traces follow each other.
            on_share: told what is done, and which share of a batch beyond those given back.
            stopping: asked now and then.
        """
        ...


class InProcess:
    """One batch after another, here: the fastest for small studies."""

    def __init__(self, study: Study) -> None:
        self.computing = Computing(study)

    def __call__(
        self,
        batches: Sequence[Batch],
        on_share: Callable[[float, str], None],
        stopping: Callable[[], bool],
    ) -> Generator[tuple[Batch, Computed], None, None]:
        """As `Executor`; a batch that is stopped comes back with what it has."""
        for batch in batches:
            tell = partial(_tell, on_share, batch.title)
            tell(0.0)
            yield batch, self.computing(batch, tell, stopping)


def _tell(on_share: Callable[[float, str], None], what: str, share: float) -> None:
    on_share(share, what)


class OnRay:
    """On the Ray that runs; what is not finished when it is stopped is lost."""

    def __init__(self, study: Study, need: Need, seconds: float = SECONDS) -> None:
        """`seconds` is how long a task may work before it leaves the rest to the next."""
        self.study, self.need, self.seconds = study, need, seconds

    def __call__(
        self,
        batches: Sequence[Batch],
        on_share: Callable[[float, str], None],
        stopping: Callable[[], bool],
    ) -> Generator[tuple[Batch, Computed], None, None]:
        """As `Executor`; a batch that killed its processes comes back as failed."""
        last = "starting"

        def on_state(state: State) -> None:
            died = f", {state.failures} processes died" if state.failures else ""
            on_share(0.0, f"{last} ({state.running} of {state.fit} places busy{died})")

        results = on_ray(
            ComputingOrders,
            self.study,
            [Order.of(batch) for batch in batches],
            need=self.need,
            stopping=stopping,
            on_state=on_state,
            seconds=self.seconds,
        )
        for place, found in results:
            batch = batches[place]
            last = f"{batch.title}, done"
            if isinstance(found, Lost):
                found = rows(self.study, batch, Outcome(None, Status.FAILED, found.reason), 0.0)
            yield batch, found


class Order(NamedTuple):
    """A batch by the names of its parts: what travels, since the study is there already."""

    regime: str
    label: str
    variant: str
    phase: str
    factors: tuple[float, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, batch: Batch) -> "Order":
        """The names of a batch."""
        return cls(batch.regime.name, batch.label, batch.variant.name, *batch[3:])

    def batch(self, study: Study) -> Batch:
        """The batch in a study."""
        (regime,) = (regime for regime in study.regimes if regime.name == self.regime)
        (entry,) = (entry for entry in regime.entries if entry.label == self.label)
        (variant,) = (variant for variant in entry.variants if variant.name == self.variant)
        return Batch(regime, self.label, variant, *self[3:])


class ComputingOrders:
    """Computes orders of one study in a process of Ray."""

    def __init__(self, study: Study) -> None:
        self.study, self.computing = study, Computing(study)

    def __call__(self, order: Order) -> Computed:
        """The rows of a batch."""
        return self.computing(order.batch(self.study))
