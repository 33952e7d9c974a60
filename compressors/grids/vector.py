"""Training of grids of p ≥ 2 for a standard normal variable: Lloyd's iteration, annealed.

In a round every point moves to the mean of those numbers of a fresh sample that are nearest to it.
The samples grow: from 4 a point, where the noise of the means carries the points out of poor local
minima, to 64. The best of several attempts goes on with large samples, the last of which are
averaged: steps 1/2, 1/3, … of the way, as in CLVQ (Pagès and Printems 2003).

Samples are Sobol points shifted at random and mapped to normal ones. Their seeds are p, n and the
round, so that a training that is resumed gives the points of one that was not interrupted.

Central symmetry is not imposed: it costs 2 % of the error at p = 2, n = 16, whose best grid has one
point in the middle, six around it and nine around those.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from compressors.grids.grid import Grid


DIMENSIONS = (2, 3, 4)
LARGEST = 1 << 16
FIRST_SAMPLE, LAST_SAMPLE = 4, 64
"""Numbers a point in the first and in the last round of an attempt."""
SETTLING, AVERAGED = 12, 6
"""Rounds at the end: that go all the way to the means, and whose steps shrink."""
REPLICATES, REPLICATE = 16, 1 << 17
"""Samples that the error is measured on, and the size of one."""
MEASURED = 1 << 30
"""The first round number of samples for measuring."""


@dataclass(frozen=True)
class Plan:
    """How long a training takes.

    Attributes:
        attempts: from different beginnings.
        rounds: of an attempt.
        final_sample: log2 of the numbers in a sample of the rounds at the end.
    """

    attempts: int
    rounds: int
    final_sample: int

    @property
    def total(self) -> int:
        """All rounds."""
        return self.attempts * self.rounds + SETTLING + AVERAGED


def plan(p: int, n: int) -> Plan:
    """Seconds for tens of points, a minute or two for thousands.

    Raises:
        ValueError: p is not 2, 3 or 4, or n not from 2 to 65,536.
    """
    if p not in DIMENSIONS:
        raise ValueError(f"a grid of p = {p} to train: give 2, 3 or 4, or see lloyd_max")
    if not 2 <= n <= LARGEST:
        raise ValueError(f"a grid of n = {n} points to train: give from 2 to {LARGEST}")
    last = min(19, (4096 * n - 1).bit_length())
    return Plan(max(1, min(16, 1024 // n)), 300 if n <= 1024 else 100, last)


@dataclass(frozen=True)
class Training:
    """Where a training is.

    Attributes:
        round: rounds that are done.
        points: of the current attempt.
        best: those of the best attempt that is over; zeros before.
        best_error: that of `best`, on one sample for all attempts; infinite before.
    """

    round: int
    points: Float[np.ndarray, "n p"]
    best: Float[np.ndarray, "n p"]
    best_error: float


@dataclass(frozen=True)
class VectorGrid:
    """A grid that is trained, with what was measured on samples it has not seen.

    Attributes:
        grid: float32 points in lexicographic order.
        residual: Σ P_j‖m_j − c_j‖²/(p·mse), m_j the mean of cell j: the part of the error that one
            more round could remove. Zero for a stationary grid; the estimate has no bias, and may
            be negative.
        moment_gap: E‖q‖²/p − (1 − mse), zero for a stationary grid.
        samples: numbers that all this was measured on.
    """

    grid: Grid
    residual: float
    moment_gap: float
    samples: int


def begin(p: int, n: int) -> Training:
    """No round done."""
    plan(p, n)
    empty = np.zeros((n, p))
    return Training(0, empty, empty, np.inf)


def advance(training: Training) -> Training:
    """One more round."""
    n, p = training.points.shape
    todo = plan(p, n)
    annealing = training.round < todo.attempts * todo.rounds
    return _anneal(training, todo) if annealing else _settle(training, todo)


def train(p: int, n: int) -> VectorGrid:
    """The trained grid of n points for p = 2, 3 or 4: seconds for tens of points.

    Raises:
        ValueError: see `plan`.
    """
    training = begin(p, n)
    while training.round < plan(p, n).total:
        training = advance(training)
    return measure(training.points)


def measure(points: Float[np.ndarray, "n p"]) -> VectorGrid:
    """The points as float32, sorted, and their error on independent samples."""
    n, p = points.shape
    points = np.unique(points.astype(np.float32), axis=0)
    masses, sums = np.zeros((2, n)), np.zeros((2, n, p))
    errors = np.empty(REPLICATES)
    for i in range(REPLICATES):
        z = _sample(p, REPLICATE.bit_length() - 1, (n, MEASURED + 1 + i))
        errors[i], mass, total = _cells(points.astype(np.float64), z)
        masses[i % 2] += mass / REPLICATES / REPLICATE
        sums[i % 2] += total / REPLICATES / REPLICATE
    mse = float(errors.mean())
    halves = sums / np.maximum(masses, 1e-300)[:, :, None] - points
    moved = np.where((masses > 0).all(axis=0), np.sum(halves[0] * halves[1], axis=1), 0)
    inner = np.sum(points * (masses.sum(axis=0)[:, None] * points - sums.sum(axis=0)))
    deviation = float(errors.std(ddof=1)) / REPLICATES**0.5
    grid = Grid(points, mse, deviation)
    residual = float(masses.sum(axis=0) @ moved) / (p * mse)
    return VectorGrid(grid, residual, 2 * float(inner) / p, REPLICATES * REPLICATE)


def _anneal(training: Training, todo: Plan) -> Training:
    n, p = training.points.shape
    attempt, step = divmod(training.round, todo.rounds)
    points = _first_points(p, n, attempt) if step == 0 else training.points
    growth = (LAST_SAMPLE / FIRST_SAMPLE) ** (step / (todo.rounds - 1))
    z = _sample(p, (int(FIRST_SAMPLE * growth * n) - 1).bit_length(), (n, training.round))
    training = replace(training, round=training.round + 1, points=_centroids(points, z))
    if step < todo.rounds - 1:
        return training
    common = _sample(p, todo.final_sample, (n, MEASURED))
    error = _cells(training.points, common)[0]
    if error < training.best_error:
        return replace(training, best=training.points, best_error=error)
    return training


def _settle(training: Training, todo: Plan) -> Training:
    n, p = training.points.shape
    count = training.round - todo.attempts * todo.rounds
    points = training.best if count == 0 else training.points
    z = _sample(p, todo.final_sample, (n, training.round))
    moved = points + (_centroids(points, z) - points) / max(1, count - SETTLING + 2)
    return replace(training, round=training.round + 1, points=moved)


def _centroids(points: Float[np.ndarray, "n p"], z: Float[np.ndarray, "m p"]) -> np.ndarray:
    """The mean of every cell; the point itself where a cell is empty."""
    _, masses, sums = _cells(points, z)
    return np.where(masses[:, None] > 0, sums / np.maximum(masses, 1)[:, None], points)


def _cells(
    points: Float[np.ndarray, "n p"], z: Float[np.ndarray, "m p"]
) -> tuple[float, Int[np.ndarray, " n"], Float[np.ndarray, "n p"]]:
    """The mean squared error of a number; and of every cell how many fall there, and their sum."""
    from scipy.spatial import cKDTree

    n, p = points.shape
    distance, nearest = cKDTree(points).query(z)
    masses = np.bincount(nearest, minlength=n)
    sums = np.stack([np.bincount(nearest, z[:, k], n) for k in range(p)], axis=1)
    return float(distance @ distance) / z.size, masses, sums


def _sample(p: int, log2: int, seed: tuple[int, int]) -> Float[np.ndarray, "m p"]:
    """2^log2 standard normal vectors, evenly spread."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    shift = np.random.default_rng((p, *seed)).random(p)
    even = (qmc.Sobol(p, scramble=False).random_base2(log2) + shift) % 1
    return ndtri(np.clip(even, 2.0**-53, 1 - 2.0**-53))


def _first_points(p: int, n: int, attempt: int) -> Float[np.ndarray, "n p"]:
    """Evenly spread by φ^(p/(p + 2)), to which the density of the points of a best grid tends."""
    z = _sample(p, (n - 1).bit_length(), (n, MEASURED - 1 - attempt))
    return ((p + 2) / p) ** 0.5 * z[:n]
