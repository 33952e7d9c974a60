"""Tasks on Ray: everything once, whatever dies, in far fewer tasks than pieces."""

import os
import signal
import time
from collections import Counter

import numpy as np
import pytest
import rays

from dopt.errors import ConfigurationError
from simulators.ray_tasks import ATTEMPTS, Lost, Need, on_ray


pytestmark = pytest.mark.ray

ONE = Need(threads=1)

STORE = 80 * 2**20
"""Bytes of the object store: Ray's least."""


@pytest.fixture(scope="module", autouse=True)
def ray():
    with rays.own_ray(__name__, cpus=2, object_store=STORE) as ray:
        yield ray


def collect(make, context, orders, *, need=ONE, stopping=lambda: False, seconds=20.0):
    """The results by place, and the states."""
    states = []
    found = list(
        on_ray(
            make,
            context,
            orders,
            need=need,
            stopping=stopping,
            on_state=states.append,
            seconds=seconds,
        )
    )
    places = Counter(place for place, _ in found)
    assert set(places.values()) <= {1}
    return dict(found), states


class Square:
    """Squares and says which process it was, and when that made this."""

    def __init__(self, context):
        self.made, self.context = time.monotonic_ns(), context

    def __call__(self, order):
        return order**2 + self.context, os.getpid(), self.made


def test_ten_thousand_pieces_are_few_tasks_and_what_they_share_is_made_once(ray):
    found, states = collect(Square, 0.5, range(10_000))
    assert [found[k][0] for k in range(10_000)] == [k**2 + 0.5 for k in range(10_000)]
    assert len({pid for _, pid, _ in found.values()}) <= 2
    # Each takes a quarter of what is left.
    assert states[-1].tasks < 60
    assert len({made for _, _, made in found.values()}) <= 2
    # Another context is another thing to make.
    again, _ = collect(Square, 1.5, [3])
    assert again[0][0] == 10.5


def test_long_tasks_leave_the_rest_to_others(tmp_path):
    class Sleep:
        """Begins when two processes are there: one may take seconds to start."""

        def __init__(self, folder):
            self.folder = folder

        def __call__(self, order):
            (self.folder / str(os.getpid())).touch()
            end = time.monotonic() + 60
            while len(list(self.folder.iterdir())) < 2 and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.1)
            return os.getpid()

    found, states = collect(Sleep, tmp_path, range(30), seconds=0.3)
    assert len(found) == 30
    assert len(set(found.values())) == 2
    assert max(state.running for state in states) == 2
    assert states[0].fit == 2


def test_threads_are_those_asked_for_and_by_default_ours(monkeypatch):
    def make(context):
        return lambda order: (os.environ["NPROC"], os.environ["JAX_PLATFORMS"])

    found, _ = collect(make, None, [0])
    assert found[0] == ("1", "cpu")
    monkeypatch.setenv("NPROC", "3")
    found, _ = collect(make, None, [0], need=Need())
    assert found[0][0] == "3"


def test_what_no_node_has_is_refused():
    with pytest.raises(ConfigurationError, match="no node has 3 processors and 0 GPUs"):
        collect(Square, 0, [1], need=Need(3.0))
    with pytest.raises(ConfigurationError, match="no node has 1 processors and 1 GPUs"):
        collect(Square, 0, [1], need=Need(1.0, 1.0))


def test_shares_of_gpus_fit_and_are_told_to_jax():
    assert Need(1, 0.3).fit(16.0, 1.0) == 3
    assert Need(1, 0.1).fit(16.0, 1.0) == 10
    assert Need(4).fit(15.0, 0.0) == 3
    assert Need(0, 1).fit(0.0, 2.0) == 2
    assert "JAX_PLATFORMS" not in Need(1, 0.5).environment()
    assert Need(1, 0.5).environment()["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in Need(1, 1).environment()


def test_an_error_of_the_work_is_the_error_of_the_call():
    def make(context):
        def divide(order):
            return 1 / order

        return divide

    with pytest.raises(ZeroDivisionError):
        collect(make, None, [1, 2, 0])

    def refuses(context):
        raise ConfigurationError("context = 7 is odd")

    with pytest.raises(ConfigurationError, match="context = 7 is odd"):
        collect(refuses, 7, [1])


class Deadly:
    """Dies at certain orders, once for each file that it can still make in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, order):
        number, times = order
        for attempt in range(times):
            mark = self.folder / f"{number}-{attempt}"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"done-{number}-{time.monotonic_ns()}").touch()
        return number


def test_what_a_process_died_at_is_tried_again_and_others_do_not_suffer(tmp_path):
    orders = [(number, 2 if number in (3, 11) else 0) for number in range(20)]
    found, states = collect(Deadly, tmp_path, orders)
    assert found == {number: number for number in range(20)}
    assert states[-1].failures >= 4


def test_what_kills_every_process_is_given_up(tmp_path):
    orders = [(number, 99 if number == 5 else 0) for number in range(12)]
    found, _ = collect(Deadly, tmp_path, orders)
    lost = found.pop(5)
    assert isinstance(lost, Lost)
    assert lost.reason.startswith(f"processes died {ATTEMPTS} times at this: ")
    assert found == {number: number for number in range(12) if number != 5}


def test_stopping_ends_soon_and_keeps_what_came(ray):
    class Slow:
        def __init__(self, context):
            pass

        def __call__(self, order):
            time.sleep(1.2)
            return order

    found = []
    begun = time.monotonic()
    for place, _ in on_ray(
        Slow, None, range(1000), need=ONE, stopping=lambda: len(found) >= 2, on_state=lambda s: None
    ):
        found.append(place)
    assert 2 <= len(found) <= 4
    assert time.monotonic() - begun < 30
    # The places are free again.
    assert collect(Square, 0.0, [2])[0][0][0] == 4.0


def test_an_object_store_that_fills_goes_to_the_disk():
    """Data of twice its size, and results that together are."""

    class Whole:
        def __init__(self, context):
            self.context = context

        def __call__(self, order):
            time.sleep(1.0)  # each is sent by itself
            return np.full(2 * 2**20, float(order)), int(self.context.sum())

    data = np.ones(2 * STORE // 8, np.int64)
    found, _ = collect(Whole, data, range(8))
    for order, (result, total) in found.items():
        assert total == len(data)
        assert (result == order).all()
