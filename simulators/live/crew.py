"""Processes of live workers: where they run, how they start, and how they end."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import jax
import numpy as np

from dopt.errors import ConfigurationError, DoptError
from dopt.methods import Method
from dopt.problems import Problem
from dopt.versions import threads
from simulators.live.host import Host, Row
from simulators.ray_session import Node, Session, import_ray


START_SECONDS = 300.0
"""How long processes may take to start and to compile."""

PARTING_SECONDS = 2.0
"""How long a process may take to say what memory it used; one that hangs does not answer."""

INLINE_BYTES = 100_000
"""Larger models go into the object store once; smaller ones travel with each job."""


def spread(cpus: Sequence[float], processes: int) -> list[int]:
    """The machine of each process: each next one goes where the load per processor stays least."""
    load = [0] * len(cpus)
    weights = list(cpus) if any(cpus) else [1.0] * len(cpus)
    places = []
    for _ in range(processes):
        after = [(k + 1) / w if w else np.inf for k, w in zip(load, weights, strict=True)]
        place = int(np.argmin(after))
        load[place] += 1
        places.append(place)
    return places


class Crew:
    """The processes of a run: worker i of n is in process i modulo their number."""

    def __init__(
        self,
        problem: Problem,
        method: Method,
        first: Sequence[Row],
        models: tuple[Any, ...],
        *,
        n: int,
        seed: int,
        processes: int | None,
    ) -> None:
        """Starts them; by default as many as twice the processors of the cluster, or one a worker.

        `first` are the first jobs, which read `models`: what they need is compiled, and `began`
        has one of each kind with its messages.

        Raises:
            ConfigurationError: no process is asked for.
            DoptError: one ended, or did not answer, while it started.
        """
        ray = import_ray()
        nodes = Session("", own=False).nodes()
        cpus = [node.cpus for node in nodes]
        if processes is None:
            processes = max(1, 2 * int(sum(cpus)))
        if processes < 1:
            raise ConfigurationError(f"processes = {processes}; workers need at least one")
        self.n, self.count = n, min(processes, n)
        self.nodes = [nodes[place] for place in spread(cpus, self.count)]
        self.lost: set[int] = set()
        self.hosts: list[Any] = [self._host(node) for node in self.nodes]
        x = np.asarray(problem.start())
        shared = ray.put(problem)
        self._newest: tuple[Any, Any] = (None, None)
        sent = self._carried(0, models)
        kinds = [
            _kinds(row for row in first if row[0] % self.count == j) for j in range(self.count)
        ]
        try:
            begun = self._begun(
                [
                    host.begin.remote(
                        shared, method, x, seed, list(self.workers(j)), n, kinds[j], *sent
                    )
                    for j, host in enumerate(self.hosts)
                ]
            )
        except BaseException:
            self._kill()
            raise
        self.began = [
            pair for pairs in zip(kinds, begun, strict=True) for pair in zip(*pairs, strict=True)
        ]

    def workers(self, process: int) -> range:
        """The workers of a process."""
        return range(process, self.n, self.count)

    def _host(self, node: Node) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # As many threads as here: they cut sums in large products, and a replay is to be exact.
        # Every worker may have a job that goes on and some that were dropped.
        calls = 4 * -(-self.n // self.count) + 8
        host = ray.remote(num_cpus=0)(Host).options(
            max_concurrency=calls,
            runtime_env={"env_vars": {"NPROC": str(threads()), "JAX_PLATFORMS": "cpu"}},
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        return host.remote(bool(jax.config.read("jax_enable_x64")))

    def _begun(self, replies: list[Any]) -> list[list[Any]]:
        """What the processes answer when they have begun."""
        import ray

        _, late = ray.wait(replies, num_returns=len(replies), timeout=START_SECONDS)
        if late:
            address = self.nodes[replies.index(late[0])].address
            raise DoptError(
                f"a process of workers on {address} did not start in {START_SECONDS:g} s; look at "
                "`ray status`, or take fewer processes"
            )
        found = []
        for reply, node in zip(replies, self.nodes, strict=True):
            try:
                found.append(ray.get(reply))
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError as error:
                raise DoptError(
                    f"a process of workers on {node.address} ended while it started "
                    f"({first_line(error)}); if memory is short there, take fewer processes"
                ) from None
        return found

    def send(self, row: Row, seconds: float, version: int, models: tuple[Any, ...]) -> Any:
        """Hands a job to its worker; the reply to wait for, or `None` from a process that died."""
        process = row[0] % self.count
        if process in self.lost:
            return None
        return self.hosts[process].work.remote(row, seconds, *self._carried(version, models))

    def _carried(self, version: int, models: tuple[Any, ...]) -> tuple[Any, ...]:
        """Models as they travel: small ones with each job, others from the object store."""
        import ray

        if self._newest[0] != version:
            arrays = [np.asarray(x) for x in models]
            whole = [a if a.nbytes < INLINE_BYTES else ray.put(a) for a in arrays]
            self._newest = (version, tuple(whole))
        return self._newest[1]

    def cancel(self, worker: int, job: int) -> None:
        """The worker drops a job."""
        process = worker % self.count
        if process not in self.lost:
            self.hosts[process].cancel.remote(worker, job)

    def lose(self, worker: int) -> None:
        """The process of this worker has died, or cannot be reached: it is out for good."""
        import ray

        process = worker % self.count
        self.lost.add(process)
        ray.kill(self.hosts[process])

    def is_lost(self, worker: int) -> bool:
        """Whether the process of this worker has died."""
        return worker % self.count in self.lost

    def end(self) -> tuple[int | None, ...]:
        """Ends all processes; the peak resident memory of each that still answers, in bytes."""
        import ray

        asked = {host.peak.remote(): j for j, host in enumerate(self.hosts) if j not in self.lost}
        peaks: list[int | None] = [None] * self.count
        try:
            done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=PARTING_SECONDS)
            for reply in done:
                with suppress(ray.exceptions.RayError):
                    peaks[asked[reply]] = ray.get(reply)
        finally:
            self._kill()
        return tuple(peaks)

    def _kill(self) -> None:
        import ray

        for host in self.hosts:
            ray.kill(host)


def _kinds(rows: Iterable[Row]) -> list[Row]:
    """One row of each kind of work: what is asked for, but for who does it."""
    return list({tuple(row[3:8]): row for row in rows}.values())


def first_line(error: Exception) -> str:
    """The beginning of what Ray says."""
    return str(error).strip().partition("\n")[0].rstrip(".:")
