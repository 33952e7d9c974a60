"""Ray, joined or started: quiet, of the right version on every node, and gone afterwards.

    with session("local") as joined:        # a Ray of our own, on this machine's loopback
    with session("10.0.0.1:6379") as joined:  # a cluster that runs already

A Ray of our own ends with the block, or with this process, however it dies. Token authentication
stays as Ray sets it: on by default.
"""

import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from dopt.errors import ConfigurationError
from dopt.versions import versions


LOCAL = "local"
"""The address that stands for a Ray of our own."""

OLDEST = (2, 50)
"""The oldest Ray that is used here."""

PROBE_SECONDS = 120
"""How long a node of a cluster may take to say what it has installed."""


class Node(NamedTuple):
    """A machine of the cluster: what Ray calls it, its address, and its processors."""

    id: str
    address: str
    cpus: float
    gpus: float


class Session(NamedTuple):
    """A Ray that runs: its address, and whether it is our own."""

    address: str
    own: bool

    def nodes(self) -> list[Node]:
        """The nodes that are alive now, sorted by address."""
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
        found = [
            Node(
                node["NodeID"],
                node["NodeManagerAddress"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
            )
            for node in alive
        ]
        return sorted(found, key=lambda node: (node.address, node.id))


@contextmanager
def session(
    address: str = LOCAL, *, cpus: int | None = None, object_store: int | None = None
) -> Iterator[Session]:
    """Starts a Ray of our own, or joins one; a Ray that this process has joined already serves.

    Args:
        address: `"local"`, `"auto"` for a cluster that runs on this machine, or `host:port`.
        cpus: of a Ray of our own: its processors; by default those of the machine.
        object_store: of a Ray of our own: bytes of its object store; by default Ray's choice.

    Raises:
        ConfigurationError: Ray is missing or too old, nothing answers at the address, or a node has
            other versions of this library, of Python, Ray, JAX or numpy than this process.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield Session(ray.get_runtime_context().gcs_address, own=False)
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    own, said = address == LOCAL, []
    if own:
        quiet |= {"num_cpus": cpus, "object_store_memory": object_store}
        # Our own Ray listens where nobody else hears it.
        quiet |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        _knock(address)
        with _silence() as said:
            ray.init(address=address, **quiet)
    except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise ConfigurationError(_refusal(address, error, said)) from error
    try:
        if not own:
            check_versions()
        yield Session(ray.get_runtime_context().gcs_address, own)
    finally:
        ray.shutdown()


def import_ray() -> Any:
    """The package, told to print nothing of its own.

    Raises:
        ConfigurationError: it is missing or too old.
    """
    # Read when ray is imported: faults of workers are counted and told by whoever asked for work.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError(
            f"Ray cannot be imported ({error}); pip install 'ray>={OLDEST[0]}.{OLDEST[1]}'"
        ) from None
    found = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if found < OLDEST:
        raise ConfigurationError(
            f"Ray {ray.__version__} is too old; pip install 'ray>={OLDEST[0]}.{OLDEST[1]}'"
        )
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def everywhere(function: Callable[[], Any], *, seconds: float = PROBE_SECONDS) -> dict[Node, Any]:
    """What a function without arguments gives on each node.

    Raises:
        ConfigurationError: a node does not answer in time, or misses this library.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = Session("", own=False).nodes()
    task = ray.remote(num_cpus=0)(function)
    asked = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
        for node in nodes
    ]
    replies = [one.remote() for one in asked]
    _, late = ray.wait(replies, num_returns=len(replies), timeout=seconds)
    if late:
        silent = nodes[replies.index(late[0])]
        raise ConfigurationError(
            f"node {silent.address} did not answer in {seconds:g} s; "
            "look at `ray status`, or remove the node"
        )
    found = {}
    for node, reply in zip(nodes, replies, strict=True):
        try:
            found[node] = ray.get(reply)
        except ImportError as error:
            name = (error.name or "this library").partition(".")[0]
            raise ConfigurationError(
                f"node {node.address} cannot import {name}; install dopt-jax "
                f"{versions()['dopt']} on every node"
            ) from None
    return found


def check_versions() -> None:
    """Raises `ConfigurationError` where a node has other versions than this process."""
    ours = versions()
    for node, theirs in everywhere(versions).items():
        for name, version in ours.items():
            if theirs.get(name) != version:
                raise ConfigurationError(
                    f"node {node.address} has {name} {theirs.get(name)} and this process {name} "
                    f"{version}: results would mix both; install {version} there"
                )


def _knock(address: str) -> None:
    """Raises `OSError` where nobody listens: Ray would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextmanager
def _silence() -> Iterator[list[str]]:
    """Keeps what libraries write to the standard error meanwhile, for an error that needs it."""
    said: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        # Ray starts its processes by fork and exec; JAX, already running, warns of the fork.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += file.read().decode(errors="replace").splitlines()


def _refusal(address: str, error: Exception, said: list[str]) -> str:
    """Why there is no Ray, in a sentence with the remedy."""
    first = (str(error).strip() or (said or [""])[-1]).splitlines()[0].rstrip(".")
    if "ersion mismatch" in str(error):
        return (
            f"the cluster at {address} runs other versions of Ray or Python ({first}); "
            "install the same ones here or there"
        )
    if address == LOCAL:
        return f"Ray cannot be started here: {first}"
    return (
        f"no Ray cluster answers at {address} ({first}); start one by `ray start --head`, give its "
        "host:port on one of its machines, or leave the address out for a Ray of its own; if the "
        "cluster wants a token, set RAY_AUTH_MODE=token and copy the head's ~/.ray/auth_token"
    )
