"""Rotations of groups of any even size, against the matrix written out."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard

from compressors.kernels.hadamard import block_hadamard
from compressors.weights import Rotation
from compressors.weights.rotation import conjugate_fourier, sizes


def written_out(size, signs=None):
    """H·conj(F·)·diag(s) as a real matrix, by complex arithmetic on its columns."""
    q = size & -size
    q = q if q >= 16 else 2
    m = size // q
    F = np.exp(2j * np.pi * np.outer(np.arange(m), np.arange(m)) / m) / np.sqrt(m)
    columns = np.eye(size) if signs is None else np.diag(signs)
    blocks = columns.reshape(m, q, size)
    if m > 1:
        mixed = np.conj(np.tensordot(F, blocks[:, : q // 2] + 1j * blocks[:, q // 2 :], 1))
        blocks = np.concatenate([mixed.real, mixed.imag], axis=1)
    if q >= 16:
        blocks = np.einsum("ij,mjc->mic", hadamard(q) / np.sqrt(q), blocks)
    return blocks.reshape(size, size)


@pytest.mark.parametrize("size", [16, 48, 172, 10, 144])
def test_a_group_is_multiplied_by_an_orthogonal_matrix(size):
    matrix = written_out(size)
    assert np.allclose(matrix @ matrix.T, np.eye(size))
    x = np.random.default_rng(0).normal(size=(3, 2 * size))
    turned = (x.reshape(3, 2, size) @ matrix.T).reshape(3, -1)
    rotation = Rotation(size)
    assert np.allclose(rotation.apply(jnp.asarray(x)), turned, atol=1e-12)
    assert np.allclose(rotation.back(jnp.asarray(turned)), x, atol=1e-12)


def test_signs_are_those_of_the_hadamard_blocks():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 128)))
    assert np.allclose(Rotation(64, seed=7).apply(x), block_hadamard(x, 64, seed=7), atol=1e-12)


@pytest.mark.parametrize("size", [48, 18])
def test_signs_come_before_the_matrix(size):
    eye = jnp.eye(size)
    plain, signed = Rotation(size).apply(eye), Rotation(size, seed=3).apply(eye)
    signs = np.sum(np.asarray(signed * plain), axis=1)
    assert np.allclose(np.abs(signs), 1)
    assert {-1, 1} == set(np.round(signs).astype(int))
    assert np.allclose(signed.T, written_out(size, signs), atol=1e-12)
    assert np.allclose(Rotation(size, seed=3).back(signed), eye, atol=1e-12)


def test_one_large_block_is_shared_out_evenly():
    x = np.zeros((1, 576))
    x[0, 64:128] = np.random.default_rng(2).normal(size=64)
    turned = np.asarray(Rotation(576).apply(jnp.asarray(x))).reshape(9, 64)
    assert np.allclose(np.sum(turned**2, axis=1), np.sum(x**2) / 9)


def test_the_mixing_matrix_is_its_own_inverse():
    for m in (1, 3, 9, 43):
        matrix = conjugate_fourier(m)
        assert np.allclose(matrix, matrix.T)
        assert np.allclose(matrix @ matrix, np.eye(2 * m))


def test_narrow_numbers_are_rotated_in_float32():
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 48)), jnp.bfloat16)
    turned = Rotation(48).apply(x)
    assert turned.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64) @ written_out(48).T
    assert np.allclose(np.asarray(turned, np.float64), exact, atol=0.04)


def test_sizes_fill_a_row():
    assert sizes(576)[:3] == (576, 288, 192)
    assert sizes(1536)[0] == 1536
    assert sizes(4096)[0] == sizes(8192)[0] == 4096
    assert sizes(11008)[0] == 2752
    assert sizes(172) == (172, 86)
    assert sizes(6) == (6,)
    with pytest.raises(ValueError, match="no even group of 16 to 4096 numbers divides 577"):
        sizes(577)


@pytest.mark.parametrize(
    ("size", "inputs", "message"),
    [
        (64, 100, "groups of 64 do not divide 100 inputs"),
        (0, 64, "groups of 0 do not divide"),
        (15, 30, "groups of 15 inputs cannot be rotated"),
        (2 * 521, 2 * 521, "cannot be rotated"),
    ],
)
def test_what_cannot_be_rotated_is_refused(size, inputs, message):
    with pytest.raises(ValueError, match=message):
        Rotation(size).check(inputs)


def test_a_seed_of_more_than_32_bits_is_refused():
    with pytest.raises(ValueError, match="more than 32 bits"):
        Rotation(64, seed=2**32).check(64)
