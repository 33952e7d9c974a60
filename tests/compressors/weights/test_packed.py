"""Packed matrices, against plain numpy on their parts."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import compressors.weights.packed
from compressors.weights import Coding, PackedWeight, Rotation


OUT, IN = 24, 96
RNG = np.random.default_rng(0)


def packed(coding, g, *, zeros=None, order=False, rotation=None, offset=0, table=True):
    """A matrix of random parts, and codes to compute it from."""
    k = coding.codes(IN)
    codes = RNG.integers(0, coding.n, (OUT, k))
    scales = RNG.uniform(0.5, 2, (OUT, IN // g)).astype(np.float16)
    points = RNG.normal(size=(coding.n, coding.p)).astype(np.float32)
    weight = PackedWeight(
        coding.pack(jnp.asarray(codes, jnp.uint32)),
        jnp.asarray(scales),
        zeros,
        jnp.asarray(points) if table else None,
        jnp.asarray(RNG.permutation(IN), jnp.int32) if order else None,
        coding,
        IN,
        offset,
        rotation,
    )
    values = points[codes].reshape(OUT, -1)[:, :IN] if table else codes.astype(np.float64) - offset
    return weight, values


def plain(weight, values, zeros=0.0):
    """Ŵ in float64."""
    g = weight.group
    scales = np.repeat(np.asarray(weight.scales, np.float64), g, axis=1)
    shifts = np.repeat(zeros, g, axis=1) if np.ndim(zeros) else zeros
    stored = scales * (values - shifts)
    if weight.rotation is not None:
        stored = np.asarray(weight.rotation.back(jnp.asarray(stored)))
    if weight.order is not None:
        turned_back = np.empty_like(stored)
        turned_back[:, np.asarray(weight.order)] = stored
        stored = turned_back
    return stored


def check(weight, expected):
    x = RNG.normal(size=(2, 3, IN))
    assert np.allclose(weight.dequantize(), expected, atol=1e-5)
    y = weight.times(jnp.asarray(x, jnp.float32))
    assert y.dtype == jnp.float32
    assert np.allclose(y, x @ expected.T, atol=2e-4)


@pytest.mark.parametrize("g", [96, 48, 16, 3])
@pytest.mark.parametrize("coding", [Coding(16), Coding(88, 2), Coding(5, 4)])
def test_points_times_scales(coding, g):
    weight, values = packed(coding, g)
    check(weight, plain(weight, values))


def test_a_last_code_stands_for_fewer_weights():
    weight, values = packed(Coding(6, 5), 96)
    assert weight.coding.codes(IN) * 5 > IN
    check(weight, plain(weight, values))


@pytest.mark.parametrize("g", [96, 32])
def test_integers_with_zeros(g):
    zeros = RNG.integers(0, 16, (OUT, IN // g))
    for stored in (jnp.asarray(zeros, jnp.float16), Coding(16).pack(jnp.asarray(zeros, jnp.uint8))):
        weight, values = packed(Coding(16), g, zeros=stored, table=False)
        check(weight, plain(weight, values, zeros.astype(np.float64)))


def test_integers_with_an_offset_and_an_order():
    weight, values = packed(Coding(256), 32, offset=128, table=False, order=True)
    check(weight, plain(weight, values))


@pytest.mark.parametrize("rotation", [Rotation(32), Rotation(96, 5)])
def test_rotated(rotation):
    weight, values = packed(Coding(64, 2), rotation.size, rotation=rotation)
    check(weight, plain(weight, values))


def test_windows_change_nothing(monkeypatch):
    weight, _ = packed(Coding(88, 2), 32)
    x = jnp.asarray(RNG.normal(size=(2, IN)), jnp.float32)
    whole, products = weight.dequantize(), weight.times(x)
    monkeypatch.setattr(compressors.weights.packed, "WINDOW", 7 * IN)
    jax.clear_caches()
    assert np.array_equal(weight.dequantize(), whole)
    assert np.allclose(weight.times(x), products, atol=1e-5)


def test_products_keep_the_dtype_and_sum_in_float32():
    weight, values = packed(Coding(16), 96)
    x = jnp.asarray(RNG.normal(size=(4, IN)), jnp.bfloat16)
    y = weight.times(x)
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64) @ plain(weight, values).T
    assert np.allclose(np.asarray(y, np.float64), exact, rtol=2**-8, atol=1e-3)


def test_bits_are_those_of_the_arrays():
    zeros = Coding(16).pack(jnp.zeros((OUT, 3), jnp.uint8))
    weight, _ = packed(Coding(16), 32, zeros=zeros, table=False, order=True)
    assert weight.shape == (OUT, IN)
    assert weight.nbits == OUT * IN * 4 + OUT * 3 * 16 + OUT * 32 + IN * 32


def test_rows_are_rows():
    zeros = jnp.asarray(RNG.normal(size=(OUT, 3)), jnp.float32)
    weight, _ = packed(Coding(19), 32, zeros=zeros)
    places = jnp.asarray([5, 0, 5, 23])
    assert np.array_equal(weight.rows(places).dequantize(), weight.dequantize()[places])


def test_it_goes_through_jit_as_an_array():
    weight, _ = packed(Coding(16), 32, rotation=Rotation(32))
    x = jnp.ones((1, IN), jnp.float32)
    through = jax.jit(lambda w: jax.tree.map(lambda a: a, w))(weight)
    assert through.rotation == weight.rotation
    assert np.allclose(jax.jit(lambda w, x: w.times(x))(weight, x), weight.times(x), atol=1e-5)


@pytest.mark.parametrize("kind", ["table", "zeros", "offset", "both"])
def test_the_kernel_gives_what_the_plain_form_gives(kind):
    stored = jnp.asarray(RNG.integers(0, 16, (OUT, 3)), jnp.float32)
    zeros = stored if kind in ("zeros", "both") else None
    offset = 8 if kind in ("offset", "both") else 0
    weight, _ = packed(Coding(16), 32, zeros=zeros, offset=offset, table=kind == "table")
    x = jnp.asarray(RNG.normal(size=(3, IN)), jnp.float32)
    plain_form = weight.times(x, backend="xla")
    assert np.allclose(weight.times(x, backend="interpret"), plain_form, atol=1e-4)


def test_the_kernel_refuses_what_it_does_not_know():
    x = jnp.ones((1, IN), jnp.float32)
    for coding in (Coding(19), Coding(256, 2)):
        weight, _ = packed(coding, 96)
        with pytest.raises(NotImplementedError, match="take the backend 'xla'"):
            weight.times(x, backend="interpret")
    weight, _ = packed(Coding(16), 96)
    scales = jnp.ones(weight.scales.shape, jnp.float8_e8m0fnu)
    with pytest.raises(NotImplementedError, match="take the backend 'xla'"):
        replace(weight, scales=scales).times(x, backend="interpret")
