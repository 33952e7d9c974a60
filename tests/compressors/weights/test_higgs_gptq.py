"""HIGGS with errors fed back, against a loop of least squares in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from compressors.weights import HIGGS, Rotation, proxy_error, relative_error


def problem(out, inputs, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(4 * inputs, inputs)) @ rng.normal(size=(inputs, inputs))
    return rng.normal(size=(out, inputs)).astype(np.float32), X.T @ X


def step_by_step(how, W, H):
    """The rotated matrix, p columns at a time; what follows is set to its best."""
    inputs, p = W.shape[1], how.p
    rotation = how.rotation(inputs)
    R = np.asarray(rotation.apply(jnp.eye(inputs))).T
    groups = W.reshape(len(W), -1, rotation.size).astype(np.float64)
    scales = np.sqrt(np.mean(groups**2, axis=2)).astype(np.float16).astype(np.float64)
    scales = scales.repeat(rotation.size, 1)
    H = R @ H @ R.T
    H = H + 0.01 * np.mean(np.diag(H)) * np.eye(inputs)
    points = how.points.points.astype(np.float64)
    goal = W.astype(np.float64) @ R.T
    stored = goal.copy()
    for i in range(0, inputs, p):
        end = i + p
        z = stored[:, i:end] / scales[:, i:end]
        nearest = np.argmin(np.sum((z[:, None] - points[None]) ** 2, axis=2), axis=1)
        stored[:, i:end] = points[nearest] * scales[:, i:end]
        E = stored[:, :end] - goal[:, :end]
        if end < inputs:
            stored[:, end:] = goal[:, end:] - E @ H[:end, end:] @ np.linalg.inv(H[end:, end:])
    return stored @ R


@pytest.mark.parametrize("how", [HIGGS(1, 16, 16), HIGGS(2, 16, 48), HIGGS(3, 64)])
def test_later_columns_are_the_best_for_those_rounded(how):
    W, H = problem(6, 48)
    how = HIGGS(how.p, how.n, how.group, error_feedback=True)
    got = how.quantize(W, H).weight.dequantize()
    assert np.allclose(got, step_by_step(how, W, H), atol=1e-4)


@pytest.mark.parametrize("p_n", [(1, 16), (2, 64)])
def test_without_correlations_it_is_plain_higgs(p_n):
    W, _ = problem(16, 96)
    fed_back = HIGGS(*p_n, error_feedback=True).quantize(W, 7.0 * np.eye(96)).weight
    plain = HIGGS(*p_n).quantize(W).weight
    assert np.array_equal(fed_back.words, plain.words)
    assert np.array_equal(fed_back.scales, plain.scales)


@pytest.mark.parametrize("how", [HIGGS(1, 16), HIGGS(2, 64), HIGGS(4, 256), HIGGS(3, 64, 32)])
def test_outputs_are_nearer_and_weights_are_not(how):
    W, H = problem(32, 64, seed=1)
    fed = HIGGS(how.p, how.n, how.group, error_feedback=True)
    plain, better = how.quantize(W).weight, fed.quantize(W, H).weight
    assert better.nbits == plain.nbits == fed.nbits(32, 64)
    plain, better = plain.dequantize(), better.dequantize()
    assert proxy_error(W, better, H) < 0.7 * proxy_error(W, plain, H)
    assert relative_error(W, better) > relative_error(W, plain)


def test_rows_that_no_grid_fills():
    """p = 3 in rows of 64: the last code stands for one weight."""
    W, _ = problem(5, 64)
    weight = HIGGS(3, 64, error_feedback=True).quantize(W, np.eye(64)).weight
    assert np.array_equal(weight.words, HIGGS(3, 64).quantize(W).weight.words)


def test_zero_groups_stay_zero():
    W, H = problem(4, 64)
    W[1] = 0
    weight = HIGGS(2, 64, error_feedback=True).quantize(W, H).weight
    assert np.array_equal(weight.dequantize()[1], np.zeros(64))


def test_signs_rotate_H_as_well():
    W, H = problem(16, 64, seed=3)
    how = HIGGS(2, 64, signs=4, error_feedback=True)
    assert how.rotation(64) == Rotation(64, 4)
    assert proxy_error(W, how.quantize(W, H).weight.dequantize(), H) < 0.02


def test_damping_is_reported():
    W, H = problem(4, 64)
    report = HIGGS(2, 64, error_feedback=True).quantize(W, H).report
    assert (report.damping, report.tries) == (0.01, 1)
    spoiled = np.ones((64, 64)) - 0.05 * np.eye(64)
    report = HIGGS(2, 64, error_feedback=True).quantize(W, spoiled).report
    assert (report.damping, report.tries) == (pytest.approx(0.1), 2)


def test_H_is_needed_and_checked():
    W, H = problem(4, 64)
    how = HIGGS(2, 64, error_feedback=True)
    assert how.needs_hessian
    assert not HIGGS(2, 64).needs_hessian
    with pytest.raises(ValueError, match="needs H"):
        how.quantize(W)
    H[3, 3] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        how.quantize(W, H)
