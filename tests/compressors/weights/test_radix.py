"""Codes that share a number, against Python's integers."""

import jax.numpy as jnp
import numpy as np
import pytest

from compressors.weights.radix import Radix


CASES = [
    *((3, 5), (5, 3), (12, 17), (15, 12), (19, 4), (19, 8), (84, 5), (88, 2), (361, 7), (833, 4)),
    *((7131, 5), (65521, 4)),
]


def number(radix, digits):
    """⌈2^b·v/n^c⌉, v the digits read in base n."""
    value = 0
    for digit in digits:
        value = value * radix.n + int(digit)
    return -(-(value << radix.bits) // radix.n**radix.c)


def some_digits(radix, count=200):
    drawn = np.random.default_rng(radix.n).integers(0, radix.n, (radix.c, count))
    drawn[:, 0], drawn[:, 1] = 0, radix.n - 1
    return drawn.astype(np.uint32)


@pytest.mark.parametrize(("n", "c"), CASES)
def test_a_number_is_the_fraction_of_its_digits(n, c):
    radix = Radix(n, c)
    digits = some_digits(radix)
    limbs = radix.join(list(jnp.asarray(digits)))
    shifts = [16 * i for i in range(len(limbs))]
    joined = [
        sum(int(limb[i]) << shift for limb, shift in zip(limbs, shifts, strict=True))
        for i in range(digits.shape[1])
    ]
    assert joined == [number(radix, column) for column in digits.T]
    assert max(joined) < 1 << radix.bits
    assert np.array_equal(radix.split(limbs), digits.reshape(-1))


def test_bits_are_the_fewest_that_tell_all_digits_apart():
    for n, c in CASES:
        assert 2 ** (Radix(n, c).bits - 1) < n**c <= 2 ** Radix(n, c).bits
        assert sum(Radix(n, c).limbs) == Radix(n, c).bits


def test_five_codes_of_7131_values_leave_no_slack():
    radix = Radix(7131, 5)
    assert radix.bits == 64
    digits = np.array([[7130], [7130], [7130], [7130], [7129]], np.uint32)
    assert np.array_equal(radix.split(radix.join(list(jnp.asarray(digits)))), digits[:, 0])
