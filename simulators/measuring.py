"""The cluster that Ray runs on, measured: real gradients and real messages of every node.

Each node gets workers, processes with one thread each. First all of them compute stochastic
gradients at once; then this process, the server, exchanges arrays with one after another.

A gradient is what a worker does in a loop: a new key, a point that depends on the gradient before,
one compiled program, whose call is spread over many where they are short. A message is what Ray
makes of an array that is an argument or a result: up to 100 KB inside the call, above that through
the object stores of both nodes. Between machines the network is in it; on the node of this process
there is none, and memory is what is measured. Calls of Ray are in the latency, so that it is that
of Ray and not that of a bare socket.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from dopt.errors import ConfigurationError, DoptError, InterruptedRunError
from dopt.problems import Problem
from simulators.cluster import Cluster
from simulators.link_times import WAYS, Line, Transport, Trip, Unreachable, Way, fit, round_trips
from simulators.ray_session import Node, Session, import_ray
from simulators.ray_tasks import Need


if TYPE_CHECKING:
    import pandas as pd


PHASES = STARTING, GRADIENTS, MESSAGES = "starting and compiling", "gradients", "messages"
"""What is done, one after another."""

PATIENCE = 60.0
"""Seconds without an answer of anybody after which whoever has not answered is left out."""

COMPILING = 120.0
"""Seconds besides that processes may take to start, and to compile the gradient."""

WAITING = 0.2
"""Seconds between two looks at whether to stop."""

SAMPLES = 100
"""Samples of a worker's gradients: each is as many of them as fill this part of the time."""

LEAST_SAMPLES = 5
"""Of gradients that take longer than that."""


class Measured(NamedTuple):
    """What was found.

    | field | meaning |
    |---|---|
    | `cluster` | medians of six digits, in bits: a worker a row, node by node |
    | `workers` | the names of its rows: the node's address, and a number on the node |
    | `lines` | of each worker the lines of its downlink and its uplink |
    | `samples` | every measurement: node, worker, what (gradient, down, up), bytes, repetitions, |
    | | and the seconds of one of these; a message's are those of a whole round trip |
    | `lost` | a sentence for each worker that was left out |
    """

    cluster: Cluster
    workers: tuple[str, ...]
    lines: tuple[dict[Way, Line], ...]
    samples: "pd.DataFrame"
    lost: tuple[str, ...]


def measure(
    problem: Problem,
    *,
    workers_per_node: int = 1,
    seconds: float = 5.0,
    gpus: float = 0.0,
    patience: float = PATIENCE,
    stopping: Callable[[], bool] = lambda: False,
    on_state: Callable[[str, float], None] = lambda what, share: None,
) -> Measured:
    """Measures every node with processors of the Ray that this process has joined.

    Worker i of the cluster has part i of the problem's data, and part i modulo n where there are
    more workers than parts.

    Args:
        problem: whose gradients are computed.
        workers_per_node: workers on each node, all computing at once.
        seconds: for the gradients of each worker, and as many for its messages.
        gpus: of a worker, or the share of one; with 0 it computes on a processor.
        patience: seconds without any answer after which a worker is left out.
        stopping: asked a few times a second.
        on_state: told which of `PHASES` is on, and its share that is done.

    Raises:
        ConfigurationError: no worker, no time, or no node with processors and GPUs for them.
        DoptError: nobody could be measured.
        InterruptedRunError: `stopping` said so.
    """
    if workers_per_node < 1:
        raise ConfigurationError(f"workers_per_node = {workers_per_node} must be at least 1")
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(f"seconds = {seconds} must be positive and finite")
    import_ray()
    nodes = [
        node
        for node in Session("", own=False).nodes()
        if node.cpus and node.gpus >= gpus * workers_per_node
    ]
    if not nodes:
        raise ConfigurationError(
            f"no node of this Ray has processors and {gpus * workers_per_node:g} GPUs; "
            "look at `ray status`"
        )
    crew = _Crew(problem, nodes, workers_per_node, gpus, patience, stopping)
    try:
        on_state(STARTING, 0.0)
        first = crew.ask("prepare", COMPILING, partial(on_state, STARTING))
        on_state(GRADIENTS, 0.0)
        least = seconds + LEAST_SAMPLES * max(first.values(), default=0.0)
        gradients = crew.ask("gradients", least, partial(on_state, GRADIENTS), seconds)
        on_state(MESSAGES, 0.0)
        trips = crew.trips(seconds, partial(on_state, MESSAGES))
    finally:
        crew.end()
    if not crew.alive:
        raise DoptError(f"no worker could be measured: {next(iter(crew.lost.values()))}")
    return _found(crew, gradients, trips)


class _Worker:
    """A worker of the cluster, in a process of its own."""

    def __init__(self, boxed: Sequence[Any], worker: int) -> None:
        self.problem: Problem = import_ray().get(boxed[0])
        self.worker = np.int32(worker % (self.problem.n or 1))
        self.key = jax.random.key(worker)
        self.start = self.problem.start()
        self.compute = jax.jit(_gradients)
        self.arrays: dict[int, np.ndarray] = {}
        self.done = 0

    def prepare(self) -> float:
        """Compiles; the seconds of a gradient."""
        self._seconds(1)
        return self._seconds(1)

    def gradients(self, seconds: float) -> list[tuple[int, float]]:
        """Samples: how many gradients, and the seconds of one."""
        return timed(self._seconds, seconds)

    def down(self, array: np.ndarray) -> None:
        """Takes a message."""

    def up(self, size: int) -> np.ndarray:
        """Sends a message."""
        return self.arrays.setdefault(size, np.zeros(size, np.uint8))

    def _seconds(self, count: int) -> float:
        """Of so many gradients, with keys that were never used."""
        self.done += 1
        key = jax.random.fold_in(self.key, self.done)
        begun = time.perf_counter()
        end = self.compute(self.problem, self.start, key, np.int32(count), self.worker, 0.0)
        jax.block_until_ready(end)
        return time.perf_counter() - begun


def timed(run: Callable[[int], float], seconds: float) -> list[tuple[int, float]]:
    """Samples of what is too short for one clock reading: how many at a time, and seconds of one.

    A sample that fills less than half of its part of the time shows that there were too few in it.
    All before it are dropped then, since a call alone was in them, or another process's turn on the
    processor: one slow sample can not end the search for the right number.

    Args:
        run: does so many of them, and tells the seconds of all.
        seconds: to spend in `run`, or more for the least number of samples.
    """
    part = seconds / SAMPLES
    count, spent = 1, 0.0
    samples: list[tuple[int, float]] = []
    while len(samples) < LEAST_SAMPLES or spent < seconds:
        took = run(count)
        spent += took
        if took < part / 2:
            samples.clear()
            count = min(10 * count, int(count * part / took))
        else:
            samples.append((count, took / count))
    return samples


def _gradients(problem: Problem, x: Any, key: Any, count: Any, worker: Any, step: Any) -> Any:
    """Gradients one after another, each at the point to which the one before led.

    With a `step` of 0, which the compiler does not know, this is always the same point, and still
    nothing can be computed once for all of them.
    """

    def body(k: Any, x: Any) -> Any:
        gradient = problem.stochastic_grad(x, key=jax.random.fold_in(key, k), worker=worker)
        return x - gradient * step.astype(x.dtype)

    return jax.lax.fori_loop(0, count, body, x)


class _Crew:
    """The workers, as far as they answer."""

    def __init__(
        self,
        problem: Problem,
        nodes: Sequence[Node],
        each: int,
        gpus: float,
        patience: float,
        stopping: Callable[[], bool],
    ) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.ray = import_ray()
        self.patience, self.stopping = patience, stopping
        self.lost: dict[int, str] = {}
        addresses = [node.address for node in nodes]
        self.nodes = [
            # Several nodes of one machine share an address.
            node.address if addresses.count(node.address) == 1 else f"{node.address}/{node.id[:6]}"
            for node in nodes
            for _ in range(each)
        ]
        self.workers = [f"{node} {k % each}" for k, node in enumerate(self.nodes)]
        boxed = [self.ray.put(problem)]
        wide = {"JAX_ENABLE_X64": str(int(jax.config.read("jax_enable_x64")))}
        # No processor is asked for: where others compute as well, that is part of the measurement.
        worker = self.ray.remote(_Worker)
        environment = Need(gpus=gpus, threads=1).environment() | wide
        self.actors = [
            worker.options(
                num_cpus=0,
                num_gpus=gpus,
                runtime_env={"env_vars": environment},
                scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[k // each].id, soft=False),
            ).remote(boxed, k)
            for k in range(len(self.workers))
        ]

    @property
    def alive(self) -> list[int]:
        """Those that have answered everything."""
        return [k for k in range(len(self.actors)) if k not in self.lost]

    def ask(
        self, method: str, seconds: float, on_share: Callable[[float], None], *given: Any
    ) -> dict[int, Any]:
        """Asks all at once; an answer may take so many seconds, and patience besides."""
        waiting = {getattr(self.actors[k], method).remote(*given): k for k in self.alive}
        answers = {}
        begun = time.monotonic()
        deadline = begun + seconds + self.patience
        while waiting and time.monotonic() < deadline:
            self._look()
            on_share(min(1.0, (time.monotonic() - begun) / seconds))
            for reply in self.ray.wait(list(waiting), timeout=WAITING)[0]:
                k = waiting.pop(reply)
                try:
                    answers[k] = self._get(k, reply, self.patience)
                except Unreachable as error:
                    self.lost[k] = str(error)
                deadline = max(deadline, time.monotonic() + self.patience)
        for k in waiting.values():
            self.lost[k] = self._silent(k)
        return answers

    def trips(self, seconds: float, on_share: Callable[[float], None]) -> list[Trip]:
        """Round trips with those that are alive."""
        alive = self.alive
        trips, lost = round_trips(
            [self._transport(k) for k in alive], seconds=seconds, on_share=on_share
        )
        self.lost |= {alive[place]: why for place, why in lost.items()}
        return [trip._replace(worker=alive[trip.worker]) for trip in trips]

    def end(self) -> None:
        """Ends all processes, the silent ones too."""
        for actor in self.actors:
            self.ray.kill(actor)

    def _transport(self, k: int) -> Transport:
        actor = self.actors[k]

        def exchange(way: Way, array: np.ndarray) -> object:
            sent = actor.down.remote(array) if way == "down" else actor.up.remote(array.size)
            return self._get(k, sent, self.patience)

        return exchange

    def _get(self, k: int, reply: Any, seconds: float) -> Any:
        """An answer that is due.

        Raises:
            Unreachable: there is none.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._look()
            try:
                return self.ray.get(reply, timeout=WAITING)
            except self.ray.exceptions.GetTimeoutError:
                if time.monotonic() > deadline:
                    raise Unreachable(self._silent(k)) from None
            except self.ray.exceptions.RayTaskError:
                raise  # an error of the problem itself
            except self.ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[0].rstrip(".:")
                raise Unreachable(f"worker {self.workers[k]} was lost: {why}") from error

    def _silent(self, k: int) -> str:
        return (
            f"worker {self.workers[k]} did not answer in {self.patience:g} s; look at `ray status`"
        )

    def _look(self) -> None:
        if self.stopping():
            raise InterruptedRunError("stopped on request; nothing was written")


def _found(
    crew: _Crew, gradients: dict[int, list[tuple[int, float]]], trips: list[Trip]
) -> Measured:
    """Medians and lines of the workers that answered to the end."""
    import pandas as pd

    rows: list[tuple[int, str, int, int, float]] = []
    h, latency, lines = [], [], []
    for k in crew.alive:
        h.append(float(np.median([each for _, each in gradients[k]])))
        rows += [(k, "gradient", 0, count, each) for count, each in gradients[k]]
        own = [trip for trip in trips if trip.worker == k]
        rows += [(k, trip.way, trip.bytes, 1, trip.seconds) for trip in own]
        # An empty trip is the same whichever way it is meant for.
        ways = {way: [trip for trip in own if trip.way == way or not trip.bytes] for way in WAYS}
        lines.append(
            {way: fit([t.bytes for t in of], [t.seconds for t in of]) for way, of in ways.items()}
        )
        latency.append(lines[-1]["up"].latency)
    frame = pd.DataFrame(rows, columns=["worker", "what", "bytes", "repetitions", "seconds"])
    frame.insert(0, "node", frame["worker"].map(dict(enumerate(crew.nodes))))
    frame["worker"] = frame["worker"].map(dict(enumerate(crew.workers)))
    up, down = ([line[way].per_bit for line in lines] for way in ("up", "down"))
    return Measured(
        Cluster(_rounded(h), _rounded(up), _rounded(down), _rounded(latency), "bit"),
        tuple(crew.workers[k] for k in crew.alive),
        tuple(lines),
        frame,
        tuple(crew.lost[k] for k in sorted(crew.lost)),
    )


def _rounded(seconds: Sequence[float]) -> list[float]:
    return [float(f"{each:.6g}") for each in seconds]
