import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors import elias_bits, elias_dense_bits, entropy_bits
from compressors.entropy import elias_lengths


def gamma(n):
    return "0" * (len(f"{n:b}") - 1) + f"{n:b}"


def omega(n):
    code = "0"
    while n > 1:
        code = f"{n:b}" + code
        n = len(f"{n:b}") - 1
    return code


@given(st.lists(st.integers(1, 2**40), max_size=5))
def test_lengths_are_those_of_the_codes(numbers):
    array = np.array(numbers, np.int64)
    assert elias_lengths(array, code="omega").tolist() == [len(omega(n)) for n in numbers]
    assert elias_lengths(array, code="gamma").tolist() == [len(gamma(n)) for n in numbers]


def test_the_first_codes_are_elias_own():
    assert [omega(n) for n in (1, 2, 3, 4, 8, 16)] == [
        "0",
        "100",
        "110",
        "101000",
        "1110000",
        "10100100000",
    ]


def test_numbers_below_one_have_no_code():
    with pytest.raises(ValueError, match="start at 1, not 0"):
        elias_lengths(np.array([3, 0]))


@pytest.mark.parametrize(("code", "write"), [("omega", omega), ("gamma", gamma)])
def test_the_codings_of_qsgd(code, write):
    levels = [0, 0, -3, 0, 1, 5, 0]
    sparse = sum(1 + len(write(gap)) + len(write(n)) for gap, n in ((3, 3), (2, 1), (1, 5)))
    assert elias_bits(jnp.asarray(levels), code=code) == sparse
    dense = sum((n != 0) + len(write(abs(n) + 1)) for n in levels)
    assert elias_dense_bits(jnp.asarray(levels, jnp.int8), code=code) == dense


def test_nothing_takes_no_bits():
    assert elias_bits(jnp.zeros(9, jnp.int8)) == 0
    assert elias_dense_bits(jnp.zeros(9, jnp.int8)) == 9
    assert entropy_bits(jnp.zeros(9, jnp.int8)) == 0
    assert entropy_bits(np.zeros(0, np.int8)) == 0


def test_entropy():
    assert entropy_bits(jnp.asarray([0, 1, 2, 3] * 8, jnp.uint8)) == pytest.approx(64)
    p = np.array([0.25, 0.75])
    assert entropy_bits(np.array([7, -1, -1, -1] * 10)) == pytest.approx(-40 * (p @ np.log2(p)))
    assert entropy_bits(np.array([-128, 127], np.int8)) == pytest.approx(2)


def test_small_levels_of_the_smallest_dtype():
    assert elias_bits(jnp.asarray([-128], jnp.int8)) == 1 + len(omega(1)) + len(omega(128))
