"""Errors made good by later columns, against least squares done anew after every step."""

import numpy as np
import pytest

from compressors.weights.propagation import inverse_factor, propagate


RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 36)) @ RNG.normal(size=(36, 36))
H = X.T @ X
W = RNG.normal(size=(10, 36))


def damped(H, damping):
    return H + damping * np.mean(np.diag(H)) * np.eye(len(H))


def halves(columns, first=0):
    return np.round(2 * columns) / 2


def one_by_one(W, H, p):
    """After each step the columns behind it are set to the minimum of tr(E·H·Eᵀ) given E there."""
    target, W = W.copy(), W.copy()
    for i in range(0, W.shape[1], p):
        end = i + p
        W[:, i:end] = halves(W[:, i:end])
        E = W[:, :end] - target[:, :end]
        if end < W.shape[1]:
            W[:, end:] = target[:, end:] - E @ H[:end, end:] @ np.linalg.inv(H[end:, end:])
    return W


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("block", [6, 12, 120])
def test_later_columns_are_the_best_for_those_rounded(p, block):
    rounded = propagate(W, inverse_factor(H).U, halves, step=p, block=block)
    assert np.allclose(rounded, one_by_one(W, damped(H, 0.01), p), atol=1e-9)


def test_one_column_at_a_time_is_the_nearest_plane():
    """Babai's nearest plane on the lattice ½Z with the basis of a triangular root of H."""
    H_damped = damped(H, 0.01)
    R = np.linalg.cholesky(H_damped[::-1, ::-1])[::-1, ::-1].T
    for row, got in zip(W, propagate(W, inverse_factor(H).U, halves), strict=True):
        goal, chosen = R @ row, np.zeros(36)
        for i in range(36):
            chosen[i] = halves((goal[i] - R[i, :i] @ chosen[:i]) / R[i, i])
        assert np.allclose(got, chosen)


def test_the_factor_is_of_the_damped_inverse():
    U, damping, tries = inverse_factor(H, 0.1)
    assert (damping, tries) == (0.1, 1)
    assert np.array_equal(U, np.triu(U))
    assert np.allclose(U.T @ U @ damped(H, 0.1), np.eye(36))


def test_the_scale_of_H_does_not_matter():
    rounded = propagate(W, inverse_factor(H).U, halves)
    for scale in (1e-30, 1e30):
        assert np.array_equal(propagate(W, inverse_factor(scale * H).U, halves), rounded)


def test_damping_grows_until_H_is_positive_definite():
    eigenvalues, vectors = np.linalg.eigh(H)
    eigenvalues[0] = -0.05 * np.mean(eigenvalues)
    spoiled = (vectors * eigenvalues) @ vectors.T
    _, damping, tries = inverse_factor(spoiled, 0.001)
    assert damping == pytest.approx(0.1)
    assert tries == 3


def test_inputs_that_were_never_seen_are_rounded_as_they_stand():
    holed = H.copy()
    holed[7], holed[:, 7] = 0, 0
    rounded = propagate(W, inverse_factor(holed).U, halves)
    assert np.array_equal(rounded[:, 7], halves(W[:, 7]))
    assert not np.array_equal(rounded[:, 9], halves(W[:, 9]))
    nothing = inverse_factor(np.zeros_like(H)).U
    assert np.array_equal(propagate(W, nothing, halves), halves(W))


def test_blocks_begin_with_all_earlier_errors_made_good():
    seen = {}
    propagate(
        W,
        inverse_factor(H).U,
        halves,
        block=12,
        at_block=lambda rest, i: seen.update({i: rest.copy()}),
    )
    assert sorted(seen) == [0, 12, 24]
    assert np.array_equal(seen[0], W)
    begun = one_by_one(W, damped(H, 0.01), 1)[:, :12]
    E = begun - W[:, :12]
    H_damped = damped(H, 0.01)
    rest = W[:, 12:] - E @ H_damped[:12, 12:] @ np.linalg.inv(H_damped[12:, 12:])
    assert np.allclose(seen[12], rest, atol=1e-9)


@pytest.mark.parametrize(
    ("H", "damping", "message"),
    [
        (H, 0.0, r"damping = 0\.0: give a number above 0"),
        (H, 2.0, r"damping = 2\.0: .* at most 1"),
        (np.full((36, 36), np.nan), 0.01, "H has entries that are NaN or infinite"),
        (-H, 0.01, "not positive definite"),
    ],
)
def test_what_is_no_sum_of_squares_is_refused(H, damping, message):
    with pytest.raises(ValueError, match=message):
        inverse_factor(H, damping)


def test_steps_divide_inputs_and_blocks():
    with pytest.raises(ValueError, match="5 columns at a time do not divide 36 inputs"):
        propagate(W, inverse_factor(H).U, halves, step=5, block=10)
