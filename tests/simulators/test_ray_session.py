"""Ray as it is found: quiet, of the right versions, and gone afterwards."""

import os
import subprocess
import sys
import time

import jax
import psutil
import pytest
import rays

from dopt.errors import ConfigurationError
from simulators.ray_session import check_versions, everywhere, import_ray, session


pytestmark = pytest.mark.ray


def test_a_ray_of_our_own_says_nothing_and_leaves_no_process(capfd):
    before = {process.pid for process in rays.descendants()}
    with session("local", cpus=3, object_store=100 * 2**20) as joined:
        assert joined.own
        (node,) = joined.nodes()
        assert (node.cpus, node.gpus) == (3.0, 0.0)
        assert node.address == "127.0.0.1"
        ray = import_ray()
        assert ray.get(ray.remote(lambda: 7).remote()) == 7
        started = {process.pid for process in rays.descendants()} - before
        assert started
        with session("local") as again:
            assert (again.address, again.own) == (joined.address, False)
        assert ray.is_initialized()
    assert not ray.is_initialized()
    deadline = time.monotonic() + 30
    while started & {process.pid for process in rays.descendants()}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


KILLED = """
from simulators.ray_session import session
import psutil, time
with session("local", cpus=1):
    print(*(process.pid for process in psutil.Process().children(recursive=True)), flush=True)
    time.sleep(600)
"""


def running(pid):
    """Whether the process is there, and not only its exit code."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_a_ray_of_our_own_ends_with_a_killed_driver():
    """Two agents of Ray need another minute to see that it is gone."""
    driver = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in driver.stdout.readline().split()]
    assert len(pids) >= 2
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 240
    while alive := [pid for pid in pids if running(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.2)


def test_nothing_at_an_address_is_a_sentence():
    silent = r"no Ray cluster answers at 127\.0\.0\.1:1 \("
    with pytest.raises(ConfigurationError, match=silent), session("127.0.0.1:1"):
        pass
    assert not import_ray().is_initialized()


def test_a_missing_and_an_old_ray_are_a_sentence(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "__version__", "2.9.3")
    with pytest.raises(ConfigurationError, match=r"Ray 2\.9\.3 is too old; pip install 'ray>=2"):
        import_ray()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"Ray cannot be imported .*pip install 'ray>="):
        import_ray()


def test_token_authentication_is_left_alone():
    before = os.environ.get("RAY_AUTH_MODE")
    import_ray()
    assert os.environ.get("RAY_AUTH_MODE") == before != "disabled"


def test_a_cluster_is_joined_only_with_our_versions(monkeypatch):
    with rays.nodes(2):
        homes = everywhere(lambda: os.getpid())
        assert len(homes) == len(set(homes.values())) == 2
        check_versions()
        monkeypatch.setattr(jax, "__version__", "0.0.1")
        mixed = r"node 127.* has jax 0\.\d+\.\d.* and this process jax 0\.0\.1: results would mix"
        with pytest.raises(ConfigurationError, match=mixed):
            check_versions()
