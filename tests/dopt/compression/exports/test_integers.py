import dataclasses

import exported
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from packing import read_sequential, write_sequential

from compressors.weights import Coding, Rotation
from dopt.compression.exports.integers import (
    IntegerMatrix,
    check_integers,
    codes_in,
    has_groups_in_turn,
    integers_of,
    packed,
    stream,
)
from dopt.errors import DataError, UnsupportedError


I = np.arange(40)  # noqa: E741
CODES = (7 * I * I + 3 * I + 1) // 3

# compressed-tensors 0.20.0: pack_to_int32 of CODES mod 2^bits, less 2^(bits−1)
COMPRESSED_TENSORS = {
    1: [-1227133514, 109],
    2: [1014590780, 1832679789, 15481],
    3: [-181694248, 463314890, 730912829, 10472181],
    4: [-1694921936, -948153491, -1616259531, 309396408, 1341447141],
    5: [-1097061280, -1026761266, -1704598033, 2018506142, 210636813, -12145195, 35],
    6: [-379539264, 832431535, 1903549591, -1183552283, 853059574, -2061385472, -197741643, 4343],
}


@pytest.mark.parametrize("bits", COMPRESSED_TENSORS)
def test_streams_are_those_of_the_package(bits):
    codes = (CODES % (1 << bits)).astype(np.uint8)[None]
    found = stream(codes, bits)
    assert found.dtype == np.int32
    assert found[0].tolist() == COMPRESSED_TENSORS[bits]
    assert np.array_equal(codes_in(found, bits, 40), codes)


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_streams_bit_by_bit_and_of_views(bits):
    random = np.random.default_rng(0)
    codes = random.integers(0, 1 << bits, (21, 5)).astype(np.uint8).T
    found = stream(codes, bits)
    assert exported.words(found).tolist() == [write_sequential(c, bits) for c in codes.tolist()]
    turned = np.asfortranarray(found)
    assert codes_in(turned, bits, 21).tolist() == [
        read_sequential(row, bits, 21) for row in exported.words(found)
    ]


def dense(matrix):
    """Ŵ in float64 by a loop."""
    result = np.empty(matrix.codes.shape)
    for i, g in enumerate(matrix.groups):
        difference = matrix.codes[:, i].astype(int) - matrix.zeros[:, g]
        result[:, i] = matrix.scales[:, g].astype(np.float64) * difference
    return result


ORDERS = {
    "none": None,
    "within groups": np.concatenate([np.arange(16)[::-1], 16 + np.arange(16)]),
    "of groups": np.roll(np.arange(32), 16),
    "of all": np.random.default_rng(4).permutation(32),
}


@pytest.mark.parametrize("zeros", [None, 0])
@pytest.mark.parametrize("order", ORDERS)
def test_integers_are_those_of_the_matrix(order, zeros):
    weight = exported.integers(
        np.random.default_rng(1), 8, 32, bits=3, zeros=zeros, order=ORDERS[order]
    )
    matrix = integers_of(weight)
    np.testing.assert_array_equal(dense(matrix), np.asarray(weight.dequantize(jnp.float64)))
    in_turn = np.arange(32) // 16
    assert np.array_equal(matrix.groups, in_turn) == (order != "of all")
    assert has_groups_in_turn(weight) == (order != "of all")
    assert matrix.groups[0] == 0
    again = packed(matrix)
    assert (again.order is None) == (order != "of all")
    assert (again.zeros is None) == (zeros is None)
    np.testing.assert_array_equal(again.dequantize(), weight.dequantize())
    if order == "none":
        assert jax.tree.structure(again) == jax.tree.structure(weight)
        assert jax.tree.all(jax.tree.map(np.array_equal, again, weight))


def test_an_offset_elsewhere_is_a_zero_of_all_groups():
    random = np.random.default_rng(2)
    weight = dataclasses.replace(exported.integers(random, 4, 32, bits=3), offset=2)
    check_integers(weight, (3,))
    assert np.all(integers_of(weight).zeros == 2)
    np.testing.assert_array_equal(packed(integers_of(weight)).dequantize(), weight.dequantize())


def test_codes_of_seven_values_are_integers_of_three_bits():
    random = np.random.default_rng(3)
    codes = random.integers(0, 7, (4, 64)).astype(np.uint8)
    weight = dataclasses.replace(
        exported.integers(random, 4, 64, bits=3),
        words=Coding(7).pack(jnp.asarray(codes)),
        coding=Coding(7),
    )
    check_integers(weight, (3,))
    assert np.array_equal(integers_of(weight).codes, codes)
    np.testing.assert_array_equal(packed(integers_of(weight)).dequantize(), weight.dequantize())


def test_what_is_no_matrix_of_integers_is_refused():
    random = np.random.default_rng(5)
    weight = exported.integers(random, 4, 32)
    for change, reason in [
        ({"rotation": Rotation(16, 3)}, "rotated in groups of 16"),
        ({"table": jnp.zeros((16, 1))}, "16 values of 1 weights each"),
        ({"zeros": jnp.zeros((4, 2), jnp.float16)}, "zeros are float16"),
        ({"scales": jnp.ones((4, 2), jnp.float8_e4m3fn)}, "scales are float8_e4m3fn"),
        ({"offset": -1}, "shifted by -1"),
        ({"offset": 16}, "shifted by 16"),
    ]:
        with pytest.raises(UnsupportedError, match=reason):
            check_integers(dataclasses.replace(weight, **change), (4,))
    with pytest.raises(UnsupportedError, match="codes have 4 bits; the format has 3, 8"):
        check_integers(weight, (3, 8))
    both = exported.integers(random, 4, 32, zeros=1)
    with pytest.raises(UnsupportedError, match="shifted by 8"):
        check_integers(dataclasses.replace(both, offset=8), (4,))


@pytest.mark.parametrize(
    ("groups", "reason"),
    [([0, 0, 0, 1], "several sizes"), ([0, 0, 1, 2], "beyond 2"), ([0, -1, 1, 1], "beyond 2")],
)
def test_groups_that_no_matrix_has_are_refused(groups, reason):
    zeros = np.zeros((1, 2), np.uint8)
    matrix = IntegerMatrix(
        2, np.zeros((1, 4), np.uint8), zeros, np.ones((1, 2), np.float16), np.int32(groups)
    )
    with pytest.raises(DataError, match=reason):
        packed(matrix)
