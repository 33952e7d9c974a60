import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import ScaledSign
from compressors._gaussian_grid import lloyd_max
from compressors.ladders.gaussian_grid import GaussianGrid
from theory_checks.compressors import check_compressor


KEY = jax.random.key(0)


def sent(compressor, x):
    return compressor.expand(compressor.compress(x, key=KEY))


def test_the_battery_finds_nothing():
    findings = check_compressor(GaussianGrid(2), 33, draws=512, seed=0)
    assert [finding for finding in findings if not finding.passed] == []


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_points_and_scale_are_the_best_of_their_kind(bits):
    x = np.random.default_rng(bits).standard_normal(501)
    points = lloyd_max(bits).points
    z = np.sqrt(501) * x / np.linalg.norm(x)
    q = points[np.argmin(np.abs(z[:, None] - points), axis=1)]
    scale = np.linalg.lstsq(q[:, None], x, rcond=None)[0][0]
    np.testing.assert_allclose(sent(GaussianGrid(bits), jnp.asarray(x)), scale * q, rtol=1e-12)


def test_one_bit_is_the_scaled_sign():
    x = jnp.asarray(np.random.default_rng(0).standard_normal(64))
    np.testing.assert_allclose(sent(GaussianGrid(1), x), sent(ScaledSign(), x), rtol=1e-12)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_a_normal_vector_loses_what_the_grid_loses(bits):
    x = np.random.default_rng(1).standard_normal(200_000)
    error = np.asarray(sent(GaussianGrid(bits), jnp.asarray(x))) - x
    assert error @ error / (x @ x) == pytest.approx(lloyd_max(bits).distortion, rel=0.03)


def test_too_many_bits_are_refused():
    with pytest.raises(ValueError, match="bits = 0: give from 1 to 8"):
        GaussianGrid(0)
