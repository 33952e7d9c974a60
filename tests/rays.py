"""Rays of tests: on the loopback, with functions that tests define, and gone afterwards."""

import sys
import warnings
from contextlib import contextmanager

import psutil

from simulators.ray_session import import_ray, session


@contextmanager
def own_ray(*modules, **options):
    """A Ray of our own, whose processes can run what these modules define."""
    ray = import_ray()
    with session("local", **options):
        for module in modules:
            ray.cloudpickle.register_pickle_by_value(sys.modules[module])
        yield ray
        for module in modules:
            ray.cloudpickle.unregister_pickle_by_value(sys.modules[module])


@contextmanager
def nodes(count, *, cpus=1):
    """A cluster of so many nodes on this machine, joined; yields the cluster."""
    ray = import_ray()
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": cpus, "include_dashboard": False},
        )
        for _ in range(count - 1):
            cluster.add_node(num_cpus=cpus)
        cluster.wait_for_nodes()
    try:
        with session(cluster.address):
            yield cluster
    finally:
        assert not ray.is_initialized()
        cluster.shutdown()


def remove(cluster, node):
    """Kills a node; returns when its workers have ended too, which Ray alone does not wait for."""
    of_node = [
        process
        for infos in node.all_processes.values()
        for info in infos
        for process in psutil.Process(info.process.pid).children(recursive=True)
    ]
    assert of_node
    cluster.remove_node(node, allow_graceful=False)
    _, alive = psutil.wait_procs(of_node, timeout=60)
    assert not alive, f"{len(alive)} processes outlived their node"


def descendants():
    """The processes below this one that are alive."""
    return [process for process in psutil.Process().children(recursive=True) if words(process)]


def words(process):
    """Its command line; empty where it has ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
