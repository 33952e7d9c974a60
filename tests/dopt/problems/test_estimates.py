"""Estimates against exact constants of quadratics, and against Hessians written out."""

import jax
import numpy as np
import pytest

from dopt.data import Digits
from dopt.errors import ConfigurationError
from dopt.problems import (
    HeterogeneousQuadratics,
    MatrixQuadratics,
    TridiagonalQuadratic,
    estimate_constants,
    estimate_traces,
    perceptron,
)


N, D = 4, 6
RNG = np.random.default_rng(0)
# Distinct eigenvalues of both signs; the largest |eigenvalue| of worker 0 is a negative one.
TURNS = np.linalg.qr(RNG.standard_normal((N, D, D)))[0]
SPECTRA = np.linspace(1, 3, D) + RNG.standard_normal((N, D))
SPECTRA[0, 0] = -7
A = np.einsum("nij,nj,nkj->nik", TURNS, SPECTRA, TURNS)
B = RNG.standard_normal((N, D))
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])
NAMES = ("L", "L_max", "L_plus", "L_pm")
QUADRATIC = MatrixQuadratics.from_matrices((A + A.transpose(0, 2, 1)) / 2, B)


def points(problem, count=1):
    return jax.random.normal(jax.random.key(5), (count, problem.d), problem.dtype)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_quadratics_give_their_exact_constants(weights):
    found = estimate_constants(QUADRATIC, points(QUADRATIC), weights=weights, products=400)
    exact = QUADRATIC.constants if weights is None else QUADRATIC.weighted(weights)
    for name in NAMES:
        estimate = getattr(found, name)
        assert estimate.kind == "estimate"
        assert "at 1 points, 400 products" in estimate.note
        assert estimate.value == pytest.approx(getattr(exact, name).value, rel=1e-6)
    assert {found.mu, found.sigma2, found.f_star} == {None}


def test_estimates_rise_to_the_constants_from_below():
    runs = [estimate_constants(QUADRATIC, points(QUADRATIC), products=k) for k in (2, 5, 20)]
    for name in NAMES:
        values = [getattr(run, name).value for run in [*runs, QUADRATIC.constants]]
        assert values[0] < values[1] <= values[2] * (1 + 1e-12)
        assert values[2] <= values[3] * (1 + 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_workers_have_no_hessian_variance_in_either_precision(dtype):
    problem = HeterogeneousQuadratics.draw(3, 8, spread=0.0, dtype=dtype)
    found = estimate_constants(problem, points(problem), products=200)
    assert found.L.value == pytest.approx(problem.constants.L.value, rel=1e-3)
    # The root of a difference of squares would leave √eps, here 3e-4 in float32.
    assert found.L_pm.value <= 4 * np.finfo(dtype).eps


@pytest.fixture(scope="module")
def network():
    """A perceptron on unequal parts, and its Hessians written out at two points."""
    digits = Digits(
        RNG.random((12, 4)).astype(np.float32), RNG.integers(0, 10, 12).astype(np.int32), "made up"
    )
    parts = [np.array([0, 4, 5]), np.array([1, 2, 3, 7, 9]), np.array([6, 8])]
    problem = perceptron(digits, hidden=(2,), parts=parts, batch=None, dtype=np.float64)
    singles = [
        perceptron(digits, hidden=(2,), parts=[part], batch=None, dtype=np.float64)
        for part in parts
    ]
    xs = points(problem, 2)
    every = jax.jit(lambda x: [jax.hessian(one.value)(x) for one in singles])
    return problem, xs, np.stack([every(x) for x in xs])


def test_a_network_has_the_constants_of_its_hessians(network):
    problem, xs, H = network
    found = estimate_constants(problem, xs, products=300)

    def top(matrices):
        return np.abs(np.linalg.eigvalsh(matrices)).max()

    mean, second = H.mean(axis=1), np.mean(H @ H, axis=1)
    assert found.L.value == pytest.approx(top(mean), rel=1e-4)
    assert found.L_max.value == pytest.approx(top(H), rel=1e-4)
    assert found.L_plus.value**2 == pytest.approx(top(second), rel=1e-4)
    assert found.L_pm.value**2 == pytest.approx(top(second - mean @ mean), rel=1e-4)


def test_traces_are_within_their_errors(network):
    problem, xs, H = network
    weights = np.array([0.5, 0.2, 0.3])
    found = estimate_traces(problem, xs[0], weights=weights, probes=400)
    mean, second = H[0].mean(axis=0), np.einsum("i,ijk,ikl", 1 / (9 * weights), H[0], H[0])
    for estimate, matrix in zip(found, (mean, second, second - mean @ mean), strict=True):
        # A sign vector z has zᵀMz with the variance 2 Σ_{j≠k} M_jk².
        error = np.sqrt(2 * (np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2)) / 400)
        assert abs(estimate.value - np.trace(matrix)) < 4 * error
        assert float(estimate.note.split()[-1]) == pytest.approx(error, rel=0.3)
        assert estimate.kind == "estimate"


def test_workers_who_share_f_have_one_constant():
    problem = TridiagonalQuadratic(8, 1e-3)
    found = estimate_constants(problem, points(problem), products=200)
    assert found.L.value == pytest.approx(problem.constants.L.value, rel=1e-4)
    assert found.L == found.L_max == found.L_plus
    assert found.L_pm.value == 0
    with pytest.raises(ConfigurationError, match="all workers share f"):
        estimate_traces(problem, points(problem)[0])


def test_bad_values_are_refused():
    x = points(QUADRATIC)
    for arguments, words in (
        ({"points": x[:0]}, "0 points"),
        ({"products": 1}, "products = 1"),
        ({"seed": -1}, "seed = -1"),
        ({"weights": np.ones(3) / 3}, "3 weights for 4 workers"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            estimate_constants(QUADRATIC, **{"points": x, **arguments})
    with pytest.raises(ConfigurationError, match="probes = 1"):
        estimate_traces(QUADRATIC, x[0], probes=1)
