import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopt.costs import Costs
from dopt.errors import ConfigurationError


def costs(**changes):
    times = {
        "h": np.array([1.0, 2.0, np.inf]),
        "tau": np.array([0.5, np.inf, 0.25]),
        "tau_dense": np.array([8.0, 16.0, 4.0]),
        "tau_down": np.array([3.0, 5.0, np.inf]),
        "message_bits": 32,
        "dense_bits": 512,
    }
    return Costs(**(times | changes))


def loop_seconds(c, worker, gradients, messages, dense, download):
    """The definition, one act after another."""
    seconds = 0.0
    if messages and download:
        seconds += c.tau_down[worker]
    for _ in range(gradients):
        seconds += c.h[worker]
    for _ in range(messages):
        seconds += c.tau_dense[worker] if dense else c.tau[worker]
    return seconds


jobs = st.tuples(
    st.integers(0, 2), st.integers(0, 6), st.integers(0, 6), st.booleans(), st.booleans()
)


@given(jobs)
def test_job_seconds_equals_the_sum_of_its_acts(job):
    assert costs().job_seconds(*job) == loop_seconds(costs(), *job)


@given(st.lists(jobs, min_size=1, max_size=8), st.booleans())
def test_many_jobs_at_once_equal_one_after_another(batch, download):
    c = costs()
    worker, gradients, messages, dense, _ = (
        np.array(column) for column in zip(*batch, strict=True)
    )
    together = c.job_seconds(worker, gradients, messages, dense, download)
    assert together.tolist() == [loop_seconds(c, *job[:4], download) for job in batch]


def test_counts_may_be_shared_by_the_workers():
    seconds = costs().job_seconds(np.arange(2), 3, 1, True, True)
    assert seconds.tolist() == [3 + 3 + 8, 5 + 6 + 16]


def test_a_job_without_messages_downloads_nothing():
    assert costs().job_seconds(2, 0, 0, False, True) == 0.0
    assert costs().job_seconds(1, 4, 0, False, True) == 8.0


def test_bits_of_another_size_take_their_share_of_the_time():
    c = costs(latency=np.array([1.0, 2.0, 0.5]))
    # 512 bits take 8 − 1 s above the latency, and 5 − 2 s on the way down.
    assert c.job_seconds(0, 2, 3, False, False, bits=128) == 2 * 1 + 3 * (1 + 7 / 4)
    assert c.job_seconds(0, 0, 1, True, False, bits=0) == 1.0
    assert c.job_seconds(1, 0, 1, True, True, download_bits=256) == 16 + 2 + 3 / 2
    assert c.job_seconds(2, 0, 1, True, True, download_bits=1) == np.inf
    together = c.job_seconds(np.arange(2), 0, 1, True, True, bits=1024, download_bits=256)
    assert together.tolist() == [1 + 14 + 1 + 1, 2 + 28 + 2 + 1.5]
    assert costs().latency.tolist() == [0.0, 0.0, 0.0]


def test_one_job_takes_a_python_float():
    assert type(costs().job_seconds(0, 1, 1, False, False)) is float
    assert type(costs().job_seconds(np.int64(0), np.int64(1), 1, False, False)) is float


def test_times_cannot_be_changed_through_the_array_they_came_from():
    h = np.ones(3)
    c = costs(h=h)
    h[0] = 7.0
    assert c.h[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        c.h[0] = 7.0


@pytest.fixture
def without_shape_checks():
    """As outside tests: the lengths reach the constructor."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tau": np.array([1.0, -2.0, 3.0])}, r"tau\[1\] = -2.0 of worker 1 is not a time"),
        ({"h": np.array([np.nan, -1.0, 3.0])}, r"h\[0\] = nan of worker 0 \(and 1 more workers\)"),
        ({"tau_down": np.ones(2)}, "tau_down has 2 workers and h has 3"),
        ({"h": np.array([])}, "h is empty; a cluster needs at least one worker"),
        ({"message_bits": 0}, "message_bits = 0; a message has at least one bit"),
        ({"dense_bits": -1}, "dense_bits = -1"),
    ],
)
def test_bad_times_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        costs(**changes)
