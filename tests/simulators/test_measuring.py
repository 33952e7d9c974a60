"""The measured cluster: gradients that sleep, workers that die or hang, and nobody left behind."""

import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rays

from dopt.errors import ConfigurationError, DoptError, InterruptedRunError
from dopt.problems import GaussianNoise, Problem, TridiagonalQuadratic
from simulators.measuring import (
    GRADIENTS,
    LEAST_SAMPLES,
    MESSAGES,
    PHASES,
    STARTING,
    measure,
    timed,
)


pytestmark = pytest.mark.ray

QUADRATIC = TridiagonalQuadratic(100, mu=1e-3, noise=GaussianNoise(0.05))


@pytest.fixture(scope="module")
def ray():
    with rays.own_ray(__name__, cpus=2) as ray:
        yield ray


@pytest.fixture
def few(monkeypatch):
    """A round or two of small messages."""
    monkeypatch.setattr("simulators.link_times.SIZES", (0, 2**10, 2**18))
    monkeypatch.setattr("simulators.link_times.LEAST_ROUNDS", 3)


def sleeping(seconds, when="always"):
    """Two workers' problem whose every gradient sleeps, in the second worker for twice as long."""

    def loss(w, rows):
        @jax.custom_vjp
        def slow(w):
            return w

        def sleep(gradient, row):
            time.sleep(seconds * (1 + float(row)))
            return gradient

        def backward(row, gradient):
            shape = jax.ShapeDtypeStruct(gradient.shape, gradient.dtype)
            return (jax.pure_callback(sleep, shape, gradient, row, vmap_method="sequential"),)

        slow.defvjp(lambda w: (w, rows[0, 0]), backward)
        # Each row has a point of its own: newer JAX refuses such a rule for one that rows share.
        return jnp.sum(slow(w + 0 * rows[0, 0]) ** 2)

    data = jnp.asarray([[0.0], [1.0]], jnp.float32)
    return Problem.from_loss(loss, jnp.ones(3, jnp.float32), data, batch=1, n=2)


def left_over():
    """Workers of measurements that are alive."""
    return [p for p in rays.descendants() if "_Worker" in rays.words(p)]


def test_gradients_that_sleep_are_measured(ray, few):
    """20 ms on one worker and 40 ms on the other, side by side."""
    states = []
    found = measure(
        sleeping(0.02), workers_per_node=2, seconds=0.5, on_state=lambda *one: states.append(one)
    )
    assert found.workers == ("127.0.0.1 0", "127.0.0.1 1")
    asleep = np.array([0.02, 0.04])
    assert (found.cluster.h >= asleep).all()
    assert (found.cluster.h <= 5 * asleep).all()  # on a busy machine
    assert found.cluster.unit == "bit"
    assert not found.lost
    phases = list(dict.fromkeys(what for what, _ in states))
    assert phases == list(PHASES) == [STARTING, GRADIENTS, MESSAGES]
    assert all(0 <= share <= 1 for _, share in states)
    gone(left_over)


def test_every_sample_is_kept(ray, few):
    found = measure(QUADRATIC, workers_per_node=2, seconds=0.5)
    samples = found.samples
    assert list(samples.columns) == ["node", "worker", "what", "bytes", "repetitions", "seconds"]
    assert set(samples["worker"]) == set(found.workers)
    assert (samples["seconds"] > 0).all()
    medians = samples[samples["what"] == "gradient"].groupby("worker")["seconds"].median()
    np.testing.assert_allclose(found.cluster.h, medians[list(found.workers)], rtol=1e-5)
    empty = samples[(samples["bytes"] == 0) & (samples["what"] != "gradient")]
    medians = empty.groupby("worker")["seconds"].median() / 2
    np.testing.assert_allclose(found.cluster.latency, medians[list(found.workers)], rtol=1e-5)
    # A gradient of microseconds is timed many at a time.
    gradients = samples[samples["what"] == "gradient"]
    assert (gradients["seconds"] * gradients["repetitions"]).median() > 1e-3
    for line in found.lines:
        assert set(line) == {"up", "down"}
    assert (found.cluster.uplink > 0).all()


@pytest.mark.parametrize("pauses", [(), (0,), (0, 1, 2), (5, 6), (1, 3, 5, 7, 9)])
def test_pauses_do_not_decide_how_many_are_timed_at_once(pauses):
    """A call costs 40 us and a gradient 2; another process takes the processor now and then."""

    def run(count):
        asked.append(count)
        return 4e-5 + 2e-6 * count + (0.01 if len(asked) - 1 in pauses else 0.0)

    asked = []
    samples = timed(run, 0.5)
    counts = {count for count, _ in samples}
    assert len(counts) == 1
    # At least half of a hundredth of the time, of which the call is no longer a part to see.
    assert 0.0025 <= 4e-5 + 2e-6 * counts.pop() <= 0.005
    np.testing.assert_allclose(np.median([each for _, each in samples]), 2e-6, rtol=0.02)
    assert 80 <= len(samples) <= 200
    assert asked == sorted(asked)


def test_long_ones_are_timed_singly():
    assert timed(lambda count: 0.3 * count, 0.5) == [(1, 0.3)] * LEAST_SAMPLES


def test_a_worker_that_dies_is_left_out(ray, few):
    """SIGKILL of one of two while they compute."""

    def on_state(what, share):
        if what == GRADIENTS and share > 0.3 and not killed:
            killed.append(left_over()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    killed = []
    found = measure(QUADRATIC, workers_per_node=2, seconds=1.0, on_state=on_state)
    assert killed
    (sentence,) = found.lost
    assert "was lost" in sentence
    assert found.cluster.n == len(found.workers) == 1
    assert found.workers[0] not in sentence
    assert set(found.samples["worker"]) == set(found.workers)
    gone(left_over)


def test_a_worker_that_hangs_is_left_out(ray, few):
    """SIGSTOP of one of two before messages."""

    def on_state(what, share):
        if what == MESSAGES and not stopped:
            stopped.append(left_over()[0])
            stopped[0].send_signal(signal.SIGSTOP)

    stopped = []
    found = measure(QUADRATIC, workers_per_node=2, seconds=0.5, patience=2.0, on_state=on_state)
    (sentence,) = found.lost
    assert "did not answer in 2 s" in sentence
    assert found.cluster.n == 1
    gone(left_over)


def test_nobody_left_is_an_error(ray, few):
    def on_state(what, share):
        if what == GRADIENTS and share > 0.1:
            for process in left_over():
                process.kill()

    with pytest.raises(DoptError, match=r"no worker could be measured: worker .* 0 was lost"):
        measure(QUADRATIC, seconds=2.0, on_state=on_state)
    gone(left_over)


@pytest.mark.parametrize("phase", PHASES)
def test_stopping_leaves_nobody_behind(ray, few, phase):
    seen = []
    with pytest.raises(InterruptedRunError, match="nothing was written"):
        measure(
            QUADRATIC,
            seconds=1.0,
            stopping=lambda: phase in seen,
            on_state=lambda what, share: seen.append(what),
        )
    gone(left_over)


def test_an_error_of_the_problem_is_told(ray):
    def loss(w, rows):
        raise ValueError("no such layer")

    broken = sleeping(0.0)
    object.__setattr__(broken, "loss", loss)
    with pytest.raises(ValueError, match="no such layer"):
        measure(broken, seconds=0.5)
    gone(left_over)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workers_per_node": 0}, "workers_per_node = 0"),
        ({"seconds": 0.0}, "seconds = 0.0"),
        ({"seconds": float("nan")}, "seconds = nan"),
        ({"gpus": 1.0}, "no node of this Ray has processors and 1 GPUs"),
    ],
)
def test_refusals(ray, change, words):
    with pytest.raises(ConfigurationError, match=words):
        measure(QUADRATIC, **change)


def gone(processes, seconds=20.0):
    """Waits until there are none of these processes."""
    end = time.monotonic() + seconds
    while processes():
        assert time.monotonic() < end, processes()
        time.sleep(0.1)
