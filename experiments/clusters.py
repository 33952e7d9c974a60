"""The cluster of `--cluster FILE`, as studies take it in place of their own."""

from pathlib import Path

import numpy as np

from dopt.data import Images
from dopt.errors import ConfigurationError
from dopt.problems import Problem
from simulators.cluster import TIMES, Cluster
from simulators.cluster_file import read_cluster
from simulators.rates import Constant
from simulators.varying import VaryingCluster


def cluster_of_file(file: str) -> Cluster:
    """The cluster of a CSV file.

    Raises:
        ConfigurationError: a gradient that takes no time.
        DataError: a file that is no such table.
    """
    cluster = read_cluster(file)
    if not cluster.h.all():
        raise ConfigurationError(
            f"{file}: h = 0 of worker {int(np.argmin(cluster.h))}, counted from 0; "
            "give every gradient a positive time"
        )
    return cluster


def cluster_of_all(file: str | None) -> Cluster | None:
    """The cluster of a file for methods that wait for every worker; `None` without a file.

    Raises:
        ConfigurationError: a gradient that takes no time, or a worker that never answers.
        DataError: a file that is no such table.
    """
    if file is None:
        return None
    cluster = cluster_of_file(file)
    for name in TIMES:
        never = np.flatnonzero(~np.isfinite(getattr(cluster, name)))
        if never.size:
            raise ConfigurationError(
                f"{file}: {name} = inf of worker {never[0]}, counted from 0, and the methods of "
                "this study wait for all workers; leave out those that never answer"
            )
    return cluster


def titled(title: str, file: str | None) -> str:
    """The title of a panel, with the name of the file where there is one."""
    return title if file is None else f"{Path(file).name}: {title}"


def equal_parts(images: Images, n: int) -> Images:
    """The images without the last few, which are too few to give each of n workers one more.

    Raises:
        ConfigurationError: there are fewer images than workers.
    """
    equal = len(images.labels) // n * n
    if not equal:
        raise ConfigurationError(
            f"samples = {len(images.labels)} are too few for {n} workers; give more"
        )
    return Images(images.images[:equal], images.labels[:equal], images.source)


def fixed_links(file: str) -> VaryingCluster:
    """The cluster of a file as one whose rates happen not to vary.

    A file without a downlink is a free broadcast, as everywhere.

    Raises:
        ConfigurationError: as for `cluster_of_all`, or a link that takes no time.
        DataError: a file that is no such table.
    """
    cluster = cluster_of_all(file)
    assert cluster is not None
    free = not cluster.downlink.any()
    for name in ("uplink",) if free else ("uplink", "downlink"):
        if not getattr(cluster, name).all():
            worker = int(np.argmin(getattr(cluster, name)))
            raise ConfigurationError(
                f"{file}: {name} = 0 of worker {worker}, counted from 0; methods that measure "
                "their links need links that take time"
            )
    return VaryingCluster(
        list(map(float, cluster.h)),
        [Constant(1 / float(seconds)) for seconds in cluster.uplink],
        None if free else [Constant(1 / float(seconds)) for seconds in cluster.downlink],
        cluster.latency,
        cluster.unit,
    )


def longest(cluster: VaryingCluster, share: float, problem: Problem) -> float:
    """Seconds of the slowest gradient, or message of `share` of a dense one; of four digits."""
    dense = problem.d * 8 * np.dtype(problem.dtype).itemsize
    bits = max(1, round(share * dense))
    costs = cluster.costs(d=problem.d, dtype=problem.dtype, message_bits=bits)
    down = costs.downlink_seconds(np.arange(cluster.n), bits)
    return float(f"{max(costs.h.max(), costs.tau.max(), np.max(down)):.4g}")
