"""The first rival: numpy, and a heap where there are events. One run at a time, whole arrays."""

import heapq

import numpy as np
import numpy.typing as npt

from experiments.benchmarks.workloads import (
    ASYNCHRONOUS_STEP,
    BATCH,
    KEPT,
    L2,
    PLAIN_STEP,
    RANDK_STEP,
    RENNALA_STEP,
    SIGMA,
    TIMELINE_WORKERS,
    WORKERS,
    D,
    Run,
    logistic,
    seconds_of,
)


Vector = npt.NDArray[np.float32]


def gradient_descent(n: int, compressor: str | None = None) -> Run:
    """W1, W2, W3, and a run of W5."""
    data = logistic(n)
    rows, labels = data.features.reshape(-1, D), data.labels.reshape(-1)
    m = len(labels) // n
    slowest = float(seconds_of(n).max())
    gamma = np.float32(RANDK_STEP if compressor == "RandK" else PLAIN_STEP)
    message = {None: 32 * D, "RandK": 32 * KEPT, "TopK": 42 * KEPT}[compressor]

    def slopes(x: Vector) -> Vector:
        return -labels / (1 + np.exp(labels * (rows @ x)))

    def run(rounds: int) -> float:
        rng = np.random.default_rng(0)
        x: npt.NDArray = np.zeros(D, np.float32)
        clock, bits = 0.0, 0
        for _ in range(rounds):
            if compressor is None:
                mean = (slopes(x) / len(labels)) @ rows + np.float32(L2) * x
            else:
                local = np.matmul((slopes(x) / m).reshape(n, 1, m), data.features)[:, 0]
                local += np.float32(L2) * x
                if compressor == "RandK":
                    kept, scale = _distinct(rng, n), D / KEPT
                else:
                    kept, scale = np.argpartition(np.abs(local), -KEPT, axis=1)[:, -KEPT:], 1.0
                values = np.take_along_axis(local, kept, axis=1) * np.float32(scale / n)
                mean = np.bincount(kept.ravel(), values.ravel(), D).astype(x.dtype)
            x = x - gamma * mean
            clock, bits = clock + slowest, bits + n * message
        z = labels * (rows @ x)
        return float(np.mean(np.logaddexp(0, -z)) + L2 / 2 * (x @ x))

    return run


def _distinct(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """K distinct indices for each of n workers: Floyd's sampling, all workers at once."""
    chosen = np.full((n, KEPT), -1)
    for i, last in enumerate(range(D - KEPT, D)):
        drawn = rng.integers(0, last + 1, n)
        chosen[:, i] = np.where((chosen == drawn[:, None]).any(axis=1), last, drawn)
    return chosen


def _gradient(x: Vector, out: Vector) -> Vector:
    np.multiply(x, np.float32(0.5), out=out)
    out[1:] -= np.float32(0.25) * x[:-1]
    out[:-1] -= np.float32(0.25) * x[1:]
    out[0] += np.float32(0.25)
    return out


def _value(x: Vector) -> float:
    wide = x.astype(np.float64)
    chain = 0.5 * (wide @ wide) - 0.5 * (wide[1:] @ wide[:-1])
    return float(chain / 2 + wide[0] / 4)


def _start() -> Vector:
    x = np.zeros(D, np.float32)
    x[0] = D**0.5
    return x


def asynchronous() -> Run:
    """W4: a heap of arrivals, every one of which moves the server."""
    h = seconds_of(WORKERS).tolist()

    def run(arrivals: int) -> float:
        rng = np.random.default_rng(0)
        x, g = _start(), np.empty(D, np.float32)
        models = np.tile(x, (WORKERS, 1))
        heap = [(seconds, i) for i, seconds in enumerate(h)]
        heapq.heapify(heap)
        gamma, sigma = np.float32(ASYNCHRONOUS_STEP), np.float32(SIGMA)
        noise, bits = np.empty(D, np.float32), 0
        for _ in range(arrivals):
            clock, i = heap[0]
            rng.standard_normal(D, dtype=np.float32, out=noise)
            noise *= sigma
            noise += _gradient(models[i], g)
            noise *= gamma
            x -= noise
            models[i] = x
            heapq.heapreplace(heap, (clock + h[i], i))
            bits += 32 * D
        return _value(x)

    return run


def rennala() -> Run:
    """W4: batches of fresh gradients; stale ones are never computed."""
    h = seconds_of(WORKERS).tolist()

    def run(arrivals: int) -> float:
        rng = np.random.default_rng(0)
        x, g = _start(), np.empty(D, np.float32)
        heap = [(seconds, i) for i, seconds in enumerate(h)]
        heapq.heapify(heap)
        read, step, fresh, bits = [0] * WORKERS, 0, 0, 0
        for _ in range(arrivals):
            clock, i = heap[0]
            if read[i] == step:
                fresh += 1
            if fresh == BATCH:
                noise = rng.standard_normal((BATCH, D), dtype=np.float32).sum(axis=0)
                mean = _gradient(x, g) + np.float32(SIGMA / BATCH) * noise
                x -= np.float32(RENNALA_STEP) * mean
                step, fresh = step + 1, 0
            read[i] = step
            heapq.heapreplace(heap, (clock + h[i], i))
            bits += 32 * D
        return _value(x)

    return run


def timeline() -> Run:
    """W6: the heap alone; keeps who arrived when, and which version its job had read."""
    h = seconds_of(TIMELINE_WORKERS).tolist()

    def run(arrivals: int) -> float:
        heap = [(seconds, i) for i, seconds in enumerate(h)]
        heapq.heapify(heap)
        read = [0] * len(h)
        rows = []
        for step in range(arrivals):
            clock, i = heap[0]
            rows.append((clock, i, read[i]))
            read[i] = step + 1
            heapq.heapreplace(heap, (clock + h[i], i))
        return rows[-1][0]

    return run
