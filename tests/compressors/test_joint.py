import jax
import numpy as np
import pytest

from compressors import IndependentFamily, RandK, UniformEDEN


def test_constants_are_those_of_the_compressor_over_n():
    family = IndependentFamily(RandK(2))
    a, b = family.ab(10, 4)
    assert (a.value, a.kind, b.value) == (1.0, "exact", 0.0)
    assert family.omega(10, 4) == RandK(2).omega(10)
    assert family.ab_equal_inputs(10, 4) == (a, b)
    loose, _ = IndependentFamily(UniformEDEN(3)).ab(10, 4)
    assert loose.kind == "bound"


def test_members_are_the_compressor():
    family = IndependentFamily(RandK(2))
    member = family.member(coin=jax.random.key(0), rank=3, n=4)
    assert member == RandK(2)
    assert family.nbits(10, 4, np.float32) == 64


def test_refusals():
    with pytest.raises(ValueError, match="K = 11 of d = 10"):
        IndependentFamily(RandK(11)).check(10, 2)
    with pytest.raises(ValueError, match="n = 0"):
        IndependentFamily(RandK(1)).ab(10, 0)
