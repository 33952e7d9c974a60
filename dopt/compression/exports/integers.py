"""Matrices of integers as other tools hold them, and the streams of bits that they lie in.

    Ŵ[o, i] = scales[o, g]·(codes[o, i] − zeros[o, g]),  g = groups[i]

with codes and zeros from 0 to 2^bits − 1; a symmetric matrix has 2^(bits−1) for all zeros. In a
stream bit t of code i is bit i·bits + t, and bit s is bit s mod 32 of word s // 32.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from compressors.weights import Coding, PackedWeight
from dopt.errors import DataError, UnsupportedError


HELD = (
    "files of other tools hold integers (rtn, gptq), and compressed-tensors files fp8; a folder of "
    "dopt holds everything"
)
SCALES = ("float16", "bfloat16", "float32")


class IntegerMatrix(NamedTuple):
    """Integers in the order of the inputs; the head of this file says what they stand for."""

    bits: int
    codes: UInt8[np.ndarray, "out inputs"]
    zeros: UInt8[np.ndarray, "out groups"]
    scales: Shaped[np.ndarray, "out groups"]
    groups: Int32[np.ndarray, " inputs"]
    """The group of each input."""


def in_turn(inputs: int, count: int) -> Int32[np.ndarray, " inputs"]:
    """The group of each input where groups stand one after another."""
    return np.repeat(np.arange(count, dtype=np.int32), inputs // count)


def groups_in(inputs: int, group: int | None) -> int:
    """Groups of a row, which is one where `group` is None.

    Raises:
        DataError: it does not divide the inputs.
    """
    if group is not None and (group < 1 or inputs % group):
        raise DataError(f"groups of {group} do not divide {inputs} inputs; fetch the model again")
    return 1 if group is None else inputs // group


def half(bits: int) -> int:
    """2^(bits−1), the zero of symmetric integers."""
    return 1 << (bits - 1)


def is_symmetric(weight: PackedWeight) -> bool:
    """Whether the middle code of a matrix of integers is 0 in all groups."""
    return weight.zeros is None and weight.offset == half(weight.coding.width)


def check_integers(weight: PackedWeight, widths: tuple[int, ...]) -> None:
    """Refuses what is no matrix of integers of one of the widths; nothing is computed.

    Raises:
        UnsupportedError: it is rotated, has a table of values, zeros that are no integers, or codes
            of another width; the message names the formats that hold it.
    """
    check_scales(weight)
    if weight.table is not None:
        n, p = weight.table.shape
        raise UnsupportedError(
            f"its codes stand for {n} values of {p} weights each, not for integers; {HELD}"
        )
    if weight.zeros is not None and weight.zeros.dtype != jnp.uint32:
        raise UnsupportedError(f"its zeros are {weight.zeros.dtype}, not integers (hqq); {HELD}")
    bits = weight.coding.width
    if bits not in widths:
        raise UnsupportedError(
            f"its codes have {bits} bits; the format has {', '.join(map(str, widths))}"
        )
    if weight.offset not in (range(1 << bits) if weight.zeros is None else (0,)):
        raise UnsupportedError(f"its codes are shifted by {weight.offset}; {HELD}")


def check_scales(weight: PackedWeight) -> None:
    """Refuses a rotated matrix, and scales that are no floating-point numbers of other tools.

    Raises:
        UnsupportedError: as said.
    """
    if weight.rotation is not None:
        raise UnsupportedError(f"it is rotated in groups of {weight.rotation.size} (higgs); {HELD}")
    if weight.scales.dtype.name not in SCALES:
        raise UnsupportedError(f"its scales are {weight.scales.dtype}; {HELD}")


def has_groups_in_turn(weight: PackedWeight) -> bool:
    """Whether the inputs of each group are neighbours."""
    return np.array_equal(_counted(weight)[0], in_turn(weight.inputs, weight.scales.shape[1]))


def zeros_of(weight: PackedWeight) -> UInt8[np.ndarray, "out groups"]:
    """The zeros of the groups as they are stored."""
    shape = weight.scales.shape
    if weight.zeros is None:
        return np.full(shape, weight.offset, np.uint8)
    return np.asarray(weight.coding.unpack(weight.zeros, shape[1])).astype(np.uint8, copy=False)


def integers_of(weight: PackedWeight) -> IntegerMatrix:
    """The integers of a matrix that `check_integers` lets pass."""
    stored = np.asarray(weight.coding.unpack(weight.words, weight.inputs))
    codes = stored.astype(np.uint8, copy=False)
    if weight.order is not None:
        codes = np.empty_like(codes)
        codes[:, np.asarray(weight.order)] = stored
    groups, places = _counted(weight)
    zeros, scales = zeros_of(weight)[:, places], np.asarray(weight.scales)[:, places]
    return IntegerMatrix(weight.coding.width, codes, zeros, scales, groups)


def packed(matrix: IntegerMatrix) -> PackedWeight:
    """The matrix in few bits; inputs whose groups are not in turn get an order.

    Raises:
        DataError: groups of several sizes.
    """
    inputs, count = matrix.codes.shape[1], matrix.scales.shape[1]
    order, codes = None, matrix.codes
    if not np.array_equal(matrix.groups, in_turn(inputs, count)):
        if matrix.groups.min() < 0 or matrix.groups.max() >= count:
            raise DataError(f"inputs belong to groups beyond {count}; fetch the model again")
        if np.any(np.bincount(matrix.groups, minlength=count) != inputs // count):
            raise DataError(f"{count} groups of {inputs} inputs have several sizes")
        order = np.argsort(matrix.groups, kind="stable").astype(np.int32)
        codes = codes[:, order]
    coding, middle = Coding(1 << matrix.bits), half(matrix.bits)
    symmetric = bool((matrix.zeros == middle).all())
    return PackedWeight(
        coding.pack(jnp.asarray(codes)),
        jnp.asarray(matrix.scales),
        None if symmetric else coding.pack(jnp.asarray(matrix.zeros)),
        None,
        None if order is None else jnp.asarray(order),
        coding,
        inputs,
        middle if symmetric else 0,
    )


def stream(codes: UInt8[np.ndarray, "rows k"], bits: int) -> Int32[np.ndarray, "rows words"]:
    """The words of each row's stream, little-endian."""
    rows, k = codes.shape
    single = np.unpackbits(codes[:, :, None], axis=2, count=bits, bitorder="little")
    filled = np.pad(single.reshape(rows, k * bits), ((0, 0), (0, -k * bits % 32)))
    return np.packbits(filled, axis=1, bitorder="little").view(np.int32)


def codes_in(
    words: Int32[np.ndarray, "rows words"], bits: int, k: int
) -> UInt8[np.ndarray, "rows k"]:
    """The k codes of each row's stream."""
    octets = np.ascontiguousarray(words).view(np.uint8)
    single = np.unpackbits(octets, axis=1, count=k * bits, bitorder="little")
    return np.packbits(single.reshape(-1, k, bits), axis=2, bitorder="little")[:, :, 0]


def _counted(weight: PackedWeight) -> tuple[np.ndarray, np.ndarray]:
    """The group of each input, and the place of each group among those that are stored.

    Groups are counted in the order of their first inputs.
    """
    groups = in_turn(weight.inputs, weight.scales.shape[1])
    if weight.order is None:
        return groups, np.arange(weight.scales.shape[1])
    of_inputs = np.empty_like(groups)
    of_inputs[np.asarray(weight.order)] = groups
    places = np.argsort(np.unique(of_inputs, return_index=True)[1])
    return np.argsort(places).astype(np.int32)[of_inputs], places
