"""What is timed: the data of each workload, as every rival gets them.

W1  n = 100, logistic regression, d = 1000, 50 samples a worker, exact local gradients, rounds
W2  the same with RandK and with TopK, 1 %
W3  the same as W1 with n = 1000
W4  n = 1000, h_i = √i, no communication, tridiagonal quadratic, d = 1000, normal noise on every
    coordinate: Asynchronous SGD, and Rennala SGD with batches of 100
W5  64 step sizes of W1 at once; 16 step sizes × 8 data seeds of W4 at once
W6  Shadowheart SGD on MNIST, medium links, n = 100 and 10⁴; a timeline of 10⁷ arrivals
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


D, SAMPLES, KEPT, L2 = 1000, 50, 10, 1e-3
PLAIN_STEP, RANDK_STEP = 0.05, 0.005
WORKERS, SIGMA, BATCH = 1000, 1e-3, 100
ASYNCHRONOUS_STEP, RENNALA_STEP = 1e-3, 0.5
TIMELINE_WORKERS = 10_000

Run = Callable[[int], float]
"""Runs the given number of units from the start and returns what they end with."""


class Workload(NamedTuple):
    """A line of the list above: `units` at once, `lanes` runs side by side, and their check.

    `expected` is f at the end of the nominal `units`, where there is a known value.
    """

    title: str
    unit: str
    units: int
    lanes: int = 1
    expected: float | None = None


WORKLOADS: dict[str, Workload] = {
    "W1": Workload("GD, n = 100", "rounds", 200, expected=0.248723),
    "W2-RandK": Workload("GD with RandK 1 %, n = 100", "rounds", 200),
    "W2-TopK": Workload("GD with TopK 1 %, n = 100", "rounds", 200, expected=0.591420),
    "W3": Workload("GD, n = 1000", "rounds", 50, expected=0.457597),
    "W4-Asynchronous": Workload("Asynchronous SGD", "arrivals", 100_000, expected=-0.1061),
    "W4-Rennala": Workload("Rennala SGD, B = 100", "arrivals", 100_000, expected=-0.0984),
    "W5-GD": Workload("W1, 64 step sizes", "rounds", 200, lanes=64),
    "W5-Asynchronous": Workload("W4, 16 step sizes × 8 seeds", "arrivals", 5_000, lanes=128),
    "W5-Rennala": Workload("W4, 16 step sizes × 8 seeds", "arrivals", 100_000, lanes=128),
    "W6-Shadowheart-100": Workload("Shadowheart SGD, MNIST, n = 100", "rounds", 20),
    "W6-Shadowheart-10000": Workload("Shadowheart SGD, MNIST, n = 10⁴", "rounds", 5),
    "W6-Timeline": Workload("timeline, n = 10⁴", "arrivals", 10_000_000),
}


class Logistic(NamedTuple):
    """Local data of the workers: features [n, 50, d] and labels ±1 [n, 50], float32."""

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]


def logistic(n: int) -> Logistic:
    """Gaussian features, labels of a noisy linear rule; the same for every rival."""
    rng = np.random.default_rng(12345)
    truth = rng.standard_normal(D, dtype=np.float32)
    features = np.empty((n, SAMPLES, D), np.float32)
    labels = np.empty((n, SAMPLES), np.float32)
    for i in range(n):
        features[i] = rng.standard_normal((SAMPLES, D), dtype=np.float32)
        z = rng.standard_normal(SAMPLES, dtype=np.float32)
        labels[i] = np.where(features[i] @ truth / np.sqrt(D) + 0.1 * z >= 0, 1, -1)
    return Logistic(features, labels)


def seconds_of(n: int) -> npt.NDArray[np.float64]:
    """h_i = √i."""
    return np.sqrt(np.arange(1.0, n + 1))


def step_sizes(largest: float, count: int) -> list[float]:
    """A grid down from the step size that the workload is run with alone."""
    return np.geomspace(largest / 100, largest, count).tolist()
