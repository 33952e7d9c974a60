import numpy as np
import pytest
from scipy.stats import norm

from compressors.grids import af4, fp4, integer, nf4


def test_nf4_is_made_of_quantiles():
    """Eight positive and seven negative quantiles from 0.9677 down, as Dettmers et al. place them.

    The offset is (1 − 1/32 + 1 − 1/30)/2.
    """
    offset = 1 - (1 / 32 + 1 / 30) / 2
    positive = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    negative = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([positive, [0.0], negative])) / positive.max()
    np.testing.assert_allclose(nf4().points[:, 0], levels, atol=1e-6)


@pytest.mark.parametrize("grid", [nf4(), af4()])
def test_sixteen_levels_between_the_ends(grid):
    assert (grid.n, grid.p, grid.width) == (16, 1, 4)
    assert grid.points[0] == -1
    assert grid.points[7] == 0
    assert grid.points[-1] == 1


def test_e2m1_is_a_float_of_two_exponent_bits_and_one_of_mantissa():
    values = [(1 + m / 2) * 2.0 ** (e - 1) if e else m / 2 for e in range(4) for m in range(2)]
    signed = sorted({s * v / 6 for v in values for s in (-1, 1)})
    np.testing.assert_array_equal(fp4().points[:, 0], signed)
    assert fp4().n == 15


def test_integers():
    np.testing.assert_allclose(integer(2).points[:, 0], [-2, -1, 0, 1])
    np.testing.assert_allclose(integer(4, 7.5).points[[0, -1], 0], [-8 / 7.5, 7 / 7.5])
    assert integer(8).n == 256
    assert integer(4) is integer(4)


def test_integers_that_are_refused():
    with pytest.raises(ValueError, match="integers of 1 bits: give from 2 to 16"):
        integer(1)
    with pytest.raises(ValueError, match=r"divided by 0.0: give a positive divisor"):
        integer(4, 0.0)
