"""Many pieces of work on the Ray that runs: few tasks, and nothing that was finished is done again.

A task is given a share of what is left, works for some tens of seconds, sends results while it
works, and leaves the rest to the next task: ten thousand small pieces are not ten thousand tasks,
and what a task needs is made once in a process and kept for the tasks after it.

A process that dies loses only what it had not sent. What it was at is tried again, alone; a piece
at which processes died `ATTEMPTS` times is given up.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from dopt.errors import ConfigurationError, DoptError
from dopt.versions import threads
from simulators.ray_session import import_ray


SECONDS = 20.0
"""Seconds after which a task leaves the rest to the next one."""

SENDING = 1.0
"""Seconds of results that a task keeps before it sends them: what its death can cost."""

WAITING = 0.2
"""Seconds between two looks at whether to stop."""

ATTEMPTS = 4
"""Deaths of processes at one piece of work after which it is given up."""


class Need(NamedTuple):
    """What a task takes up of a node: processors, and GPUs or a share of one.

    `threads` are those of JAX on a CPU. Where their number differs, sums of large products round
    otherwise: by default it is that of this process, so that results are the same bit for bit.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    threads: int | None = None

    def fit(self, cpus: float, gpus: float) -> int:
        """How many tasks a node with these runs at once."""
        of_cpus = int(cpus / self.cpus) if self.cpus else 2**31
        of_gpus = int(gpus / self.gpus + 1e-9) if self.gpus else 2**31
        return min(of_cpus, of_gpus)

    def environment(self) -> dict[str, str]:
        """The variables by which JAX keeps to this."""
        own = {"NPROC": str(self.threads or threads())}
        if not self.gpus:
            return own | {"JAX_PLATFORMS": "cpu"}
        if self.gpus < 1:
            own["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * self.gpus:.3f}"
        return own


class Lost(NamedTuple):
    """In place of a result: why a piece of work was given up."""

    reason: str


class State(NamedTuple):
    """How far the work is: tasks that run, what fits at once, all tasks and deaths so far."""

    running: int
    fit: int
    tasks: int
    failures: int


def on_ray(
    make: Callable[[Any], Callable[[Any], Any]],
    context: Any,
    orders: Sequence[Any],
    *,
    need: Need,
    stopping: Callable[[], bool],
    on_state: Callable[[State], None],
    seconds: float = SECONDS,
) -> Iterator[tuple[int, Any]]:
    """Does `make(context)(order)` for each order; results come as they are finished.

    Orders that share what is costly to make should follow each other.

    Args:
        make: called once in each process; what it gives keeps whatever later orders can use.
        context: goes to the object store once.
        orders: the pieces of work.
        need: of each task.
        stopping: asked a few times a second; ends the iteration.
        on_state: told as often.
        seconds: after which a task leaves the rest to the next one.

    Yields:
        The place of an order and its result, or `Lost`.

    Raises:
        ConfigurationError: no node has what a task needs.
        DoptError: the object store cannot hold the context.
        Exception: whatever `make` or its function raises.
    """
    farm = _Farm(make, context, orders, need, seconds)
    try:
        while farm.left and not stopping():
            on_state(farm.submit())
            yield from farm.wait()
    finally:
        farm.cancel()


class _Farm:
    """The driver's account of orders, tasks and failures."""

    def __init__(
        self, make: Any, context: Any, orders: Sequence[Any], need: Need, seconds: float
    ) -> None:
        self.ray = import_ray()
        self.orders, self.need, self.seconds = orders, need, seconds
        if not self._fit():
            raise ConfigurationError(
                f"no node has {need.cpus:g} processors and {need.gpus:g} GPUs for a task; "
                "give smaller --task-cpus or --task-gpus, or look at `ray status`"
            )
        try:
            self.context = self.ray.put(context)
        except self.ray.exceptions.ObjectStoreFullError as error:
            raise DoptError(
                "the object store of Ray cannot hold the data of the study; start Ray with a "
                "larger --object-store-memory, or take fewer data"
            ) from error
        # Where types are checked, `_task` is wrapped, and no longer looks like a generator.
        self.task = self.ray.remote(lambda *given: (yield from _task(*given))).options(
            name="dopt",
            num_returns="streaming",
            num_cpus=need.cpus,
            num_gpus=need.gpus,
            max_retries=0,
            runtime_env={"env_vars": need.environment()},
        )
        self.shared = (make, [self.context], _configuration(), seconds)
        self.queue = deque(range(len(orders)))
        self.running: dict[Any, deque[int]] = {}
        self.suspects: dict[int, int] = {}
        self.tasks = self.failures = 0
        self.left = len(orders)

    def _fit(self) -> int:
        """How many tasks the nodes that are alive run at once."""
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(self.need.fit(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive)

    def submit(self) -> State:
        """Gives every place that is free its share of what is left."""
        fit = self._fit()
        while self.queue and len(self.running) < max(fit, 1):
            share = self._share(fit)
            orders = [(place, self.orders[place]) for place in share]
            self.running[self.task.remote(*self.shared, orders)] = share
            self.tasks += 1
        return State(len(self.running), fit, self.tasks, self.failures)

    def _share(self, fit: int) -> deque[int]:
        """The next orders for one task; one at which a process died goes alone."""
        most = max(1, len(self.queue) // (2 * max(fit, 1)))
        share = deque([self.queue.popleft()])
        while self.queue and len(share) < most:
            if share[0] in self.suspects or self.queue[0] in self.suspects:
                break
            share.append(self.queue.popleft())
        return share

    def wait(self) -> Iterator[tuple[int, Any]]:
        """What arrives within a moment."""
        ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=WAITING)
        for task in ready:
            try:
                results = self.ray.get(next(task))
            except StopIteration:
                self.queue.extendleft(reversed(self.running.pop(task)))
            except self.ray.exceptions.RayTaskError:
                raise  # an error of the work itself
            except self.ray.exceptions.RuntimeEnvSetupError as error:
                raise DoptError(f"Ray cannot start processes: {error}") from error
            except self.ray.exceptions.RayError as error:
                yield from self._died(self.running.pop(task), error)
            else:
                share = self.running[task]
                for place, result in results:
                    share.remove(place)
                    self.left -= 1
                    yield place, result

    def _died(self, share: deque[int], error: Exception) -> Iterator[tuple[int, Lost]]:
        """Puts back what a dead process had not sent."""
        if not share:
            return
        self.failures += 1
        first = share[0]
        self.suspects[first] = self.suspects.get(first, 0) + 1
        if self.suspects[first] >= ATTEMPTS:
            share.popleft()
            self.left -= 1
            why = str(error).strip().splitlines()[0]
            yield first, Lost(f"processes died {ATTEMPTS} times at this: {why}")
        self.queue.extendleft(reversed(share))

    def cancel(self) -> None:
        """Ends the tasks that still run."""
        for task in self.running:
            self.ray.cancel(task, force=True)


def _configuration() -> dict[str, Any]:
    """What of JAX's configuration changes numbers."""
    names = ("jax_enable_x64", "jax_default_matmul_precision", "jax_threefry_partitionable")
    return {name: getattr(jax.config, name) for name in names}


_made: dict[Any, Callable[[Any], Any]] = {}
"""What the last context of this process was made into."""


def _task(
    make: Callable[[Any], Callable[[Any], Any]],
    boxed: list[Any],
    configuration: dict[str, Any],
    seconds: float,
    orders: list[tuple[int, Any]],
) -> Iterator[list[tuple[int, Any]]]:
    """In a process of Ray: the results of some orders, as many as there is time for."""
    begun = sent = time.monotonic()
    (reference,) = boxed
    if reference not in _made:
        # Before any array is unpacked: JAX would cut its 64 bits to 32.
        for name, value in configuration.items():
            jax.config.update(name, value)
        _made.clear()
        _made[reference] = make(import_ray().get(reference))
    results = []
    for place, order in orders:
        results.append((place, _made[reference](order)))
        now = time.monotonic()
        if now - sent > SENDING:
            yield results
            results, sent = [], now
        if now - begun > seconds:
            break
    if results:
        yield results
