"""HIGGS: its error is that of the grid, whatever the weights are."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln

from compressors.grids import Grid, lloyd_max
from compressors.weights import HIGGS, Rotation, relative_error


def gaussian(out, inputs, seed=0):
    return np.random.default_rng(seed).normal(size=(out, inputs)).astype(np.float32)


def error_of_a_sphere(grid, g):
    """E(z − q(z))² for z uniform on the sphere of radius √g: one number of a group of norm √g."""
    edges = [-np.sqrt(g), *grid.thresholds, np.sqrt(g)]
    norm = np.exp(gammaln(g / 2) - gammaln((g - 1) / 2)) / np.sqrt(np.pi * g)
    return sum(
        quad(lambda z, c=c: (z - c) ** 2 * norm * (1 - z * z / g) ** ((g - 3) / 2), low, high)[0]
        for low, high, c in zip(edges[:-1], edges[1:], grid.points[:, 0], strict=True)
    )


@pytest.mark.parametrize("group", [16, 64, 512])
def test_error_on_normal_groups_is_that_on_a_sphere(group):
    W = gaussian(512, 512)
    how = HIGGS(1, 16, group)
    W_hat = np.asarray(how.quantize(W).weight.dequantize())
    # Of a group, so that all have one weight whatever their norms are.
    groups, E = W.reshape(-1, group), (W_hat - W).reshape(-1, group)
    t2 = np.sum(E**2, axis=1) / np.sum(groups**2, axis=1)
    expected = error_of_a_sphere(lloyd_max(16), group)
    assert abs(t2.mean() - expected) < 4 * t2.std() / np.sqrt(len(t2)) + 1e-4 * expected


@pytest.mark.parametrize(("p", "n"), [(1, 16), (2, 64), (3, 833), (4, 256)])
@pytest.mark.parametrize("inputs", [576, 1536])
def test_error_is_that_of_the_grid_for_weights_far_from_normal(p, n, inputs):
    rng = np.random.default_rng(1)
    W = rng.laplace(size=(256, inputs)) * rng.uniform(0.2, 2, (256, inputs // 64)).repeat(64, 1)
    how = HIGGS(p, n)
    weight = how.quantize(W).weight
    assert weight.group == inputs
    assert relative_error(W, weight.dequantize()) == pytest.approx(how.points.mse, rel=0.03)


def test_unbiased_scales_leave_no_error_along_the_weights():
    W = gaussian(256, 512)
    for how, part in ((HIGGS(2, 16), HIGGS(2, 16).points.mse), (HIGGS(2, 16, unbiased=True), 0)):
        E = np.asarray(how.quantize(W).weight.dequantize()) - W
        assert np.sum(E * W) / np.sum(W * W) == pytest.approx(-part, abs=2e-3)
    mse = how.points.mse
    assert np.sum(E * E) / np.sum(W * W) == pytest.approx(mse / (1 - mse), rel=0.03)
    assert how.nbits(256, 512) == HIGGS(2, 16).nbits(256, 512)
    with pytest.raises(ValueError, match="unbiased scales together with error"):
        HIGGS(2, 16, unbiased=True, error_feedback=True)


@pytest.mark.data
def test_error_on_a_trained_model():
    from dopt.models import load_llama2c
    from dopt.models.parameters import leaf, linear_paths

    folder = Path(os.environ["DOPT_DATA"]) / "stories260K"
    model = load_llama2c(folder / "stories260K.bin")
    errors = []
    for path in linear_paths(model.config):
        W = np.asarray(leaf(model.params, path))
        errors.append(relative_error(W, HIGGS(2, 64).quantize(W).weight.dequantize()))
    assert np.mean(errors) == pytest.approx(HIGGS(2, 64).points.mse, rel=0.04)
    assert max(errors) < 1.1 * HIGGS(2, 64).points.mse


def test_codes_and_scales_step_by_step():
    """In numpy: scales as they are stored, the rotation written out, the nearest points."""
    W = gaussian(8, 64, seed=2) * np.float32(0.02)
    weight = HIGGS(2, 16, group=32).quantize(W).weight
    points = HIGGS(2, 16).points.points.astype(np.float64)
    R = np.asarray(Rotation(32).apply(jnp.eye(32)))
    groups = W.reshape(8, 2, 32).astype(np.float64)
    scales = np.sqrt(np.mean(groups**2, axis=2)).astype(np.float16)
    assert np.array_equal(weight.scales, scales)
    z = groups @ R / scales[:, :, None].astype(np.float64)
    distances = np.sum((z.reshape(8, 32, 1, 2) - points) ** 2, axis=-1)
    codes = np.argmin(distances, axis=-1)
    assert np.array_equal(weight.coding.unpack(weight.words, 32), codes)
    expected = (points[codes].reshape(8, 2, 32) @ R.T) * scales[:, :, None].astype(np.float64)
    assert np.allclose(weight.dequantize(), expected.reshape(8, 64), atol=1e-6)


def test_zero_groups_stay_zero_and_do_not_disturb_others():
    W = gaussian(6, 128)
    alone = HIGGS(2, 64, group=64).quantize(W).weight.dequantize()
    W[2, 64:], W[4] = 0, 0
    W_hat = np.asarray(HIGGS(2, 64, group=64).quantize(W).weight.dequantize())
    assert np.array_equal(W_hat[2, 64:], np.zeros(64))
    assert np.array_equal(W_hat[4], np.zeros(128))
    assert np.array_equal(W_hat[[0, 1, 3, 5]], alone[np.array([0, 1, 3, 5])])


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_huge_and_tiny_weights_need_wide_scales(size):
    W = gaussian(4, 64) * np.float32(size)
    with pytest.raises(ValueError, match="scale_dtype"):
        HIGGS(2, 64).quantize(W)
    weight = HIGGS(2, 64, scale_dtype="bfloat16").quantize(W).weight
    assert relative_error(W, weight.dequantize()) == pytest.approx(0.03, rel=0.2)


def test_the_same_weights_give_the_same_bytes():
    W = gaussian(32, 576)
    first, second = (HIGGS(2, 88).quantize(W).weight for _ in range(2))
    assert np.array_equal(first.words, second.words)
    assert np.array_equal(first.scales, second.scales)


@pytest.mark.parametrize(
    ("how", "inputs", "bits"),
    [
        (HIGGS(2, 256), 576, 4 + 16 / 576),
        (HIGGS(2, 256, group=64), 576, 4.25),
        (HIGGS(1, 16), 1536, 4 + 16 / 1536),
        (HIGGS(2, 88), 1536, 3.25 + 16 / 1536),
        (HIGGS(2, 16, group=1024), 4096, 2 + 16 / 1024),
    ],
)
def test_bits_are_known_beforehand(how, inputs, bits):
    assert how.nbits(3, inputs) == round(bits * 3 * inputs)


def test_no_row_is_padded():
    for inputs in (172, 96, 10):
        W = gaussian(64, inputs)
        weight = HIGGS(2, 64).quantize(W).weight
        assert weight.inputs == weight.group == inputs
        assert relative_error(W, weight.dequantize()) < 0.033


def test_signs_are_as_given():
    W = gaussian(4, 128)
    assert HIGGS(2, 64).rotation(128) == Rotation(128)
    assert HIGGS(2, 64, signs=9).rotation(128) == Rotation(128, 9)
    assert HIGGS(2, 64).rotation(96) == Rotation(96, 0)
    signed = HIGGS(2, 64, signs=9).quantize(W).weight
    assert not np.array_equal(signed.words, HIGGS(2, 64).quantize(W).weight.words)
    assert relative_error(W, signed.dequantize()) < 0.033


def test_a_grid_of_ones_own():
    grid = Grid(np.array([[-2.0], [-0.5], [0.5], [2.0]]), mse=0.2)
    W = gaussian(16, 64)
    weight = HIGGS(1, 4, grid=grid).quantize(W).weight
    assert set(np.unique(weight.table)) == {-2.0, -0.5, 0.5, 2.0}
    with pytest.raises(ValueError, match="p = 1, n = 4, and the settings p = 2, n = 256"):
        HIGGS(grid=grid)


@pytest.mark.parametrize(
    ("how", "shape", "message"),
    [
        ({"group": 48}, (2, 64), "groups of 48 do not divide 64 inputs"),
        ({}, (2, 61), "no even group of 16 to 4096 numbers divides 61"),
        ({"signs": -1}, (2, 64), "more than 32 bits"),
    ],
)
def test_groups_that_do_not_fit_are_refused(how, shape, message):
    with pytest.raises(ValueError, match=message):
        HIGGS(2, 64, **how).quantize(gaussian(*shape))
    with pytest.raises(ValueError, match=message):
        HIGGS(2, 64, **how).empty(*shape)


def test_strange_settings_and_weights_are_refused():
    with pytest.raises(ValueError, match="no grid of p = 2 with n = 100"):
        HIGGS(2, 100)
    W = gaussian(2, 64)
    W[1, 3] = np.nan
    with pytest.raises(ValueError, match="1 of 128 weights are NaN"):
        HIGGS(2, 64).quantize(W)
