"""What every quantizer of weights promises, and that every public one is in the family."""

import functools
import inspect
from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import QUANTIZERS, gaussian

import compressors.weights
from compressors.weights import WeightQuantizer, expected_error, relative_error


OUT, IN = 256, 256
W = gaussian(OUT, IN)
UPPER_BOUNDS = {"rtn, clipped", "hqq", "higgs, fed back"}
"""Where what is expected of normal weights is up to 15 % too much."""
every = pytest.mark.parametrize("name", QUANTIZERS)


def quantized(how, weights):
    """With an H that is a multiple of I where one is needed."""
    return how.quantize(weights, 2 * np.eye(IN) if how.needs_hessian else None).weight


@functools.cache
def packed(name):
    return quantized(QUANTIZERS[name], W)


def with_scales(how, dtype):
    has = any(field.name == "scale_dtype" for field in fields(how))
    return replace(how, scale_dtype=dtype) if has else how


@every
def test_what_is_stored_is_known_before(name):
    how, weight = QUANTIZERS[name], packed(name)
    empty = how.empty(OUT, IN)
    assert weight.shape == empty.shape == (OUT, IN)
    assert weight.dequantize().dtype == jnp.float32
    assert weight.dequantize().shape == (OUT, IN)
    described = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), weight)
    assert jax.tree.structure(described) == jax.tree.structure(empty)
    assert jax.tree.leaves(described) == jax.tree.leaves(empty)
    arrays = [weight.words, weight.scales, weight.zeros, weight.order]
    stored = sum(8 * np.asarray(a).nbytes for a in arrays if a is not None)
    assert how.nbits(OUT, IN) == weight.nbits == stored


@every
def test_error_on_normal_weights(name):
    of_rows = np.mean((np.asarray(packed(name).dequantize()) - W) ** 2, axis=1)
    expected = expected_error(QUANTIZERS[name], IN)
    spread = 4 * of_rows.std() / np.sqrt(OUT)
    assert of_rows.mean() <= 1.005 * expected + spread
    assert of_rows.mean() >= (0.85 if name in UPPER_BOUNDS else 0.995) * expected - spread


@every
def test_zeros_stay_zeros(name):
    how = QUANTIZERS[name]
    assert not np.any(quantized(how, np.zeros_like(W)).dequantize())
    one_row = W.copy()
    one_row[3] = 0
    back = np.asarray(quantized(how, one_row).dequantize())
    assert not back[3].any()
    np.testing.assert_array_equal(np.delete(back, 3, 0), np.delete(packed(name).dequantize(), 3, 0))


@every
def test_huge_and_tiny_weights(name):
    how = QUANTIZERS[name]
    usual = relative_error(W, packed(name).dequantize())
    # A power of two changes nothing but the exponents, unless errors have a unit.
    near = pytest.approx(usual, rel=0.1 if name == "hqq" else 0.01)
    huge = np.float32(2**11) * W
    assert relative_error(huge, quantized(how, huge).dequantize()) == near
    tiny = np.float32(2**-20) * W
    wide = quantized(with_scales(how, "float32"), tiny)
    assert relative_error(tiny, wide.dequantize()) == near
    if wide.scales.dtype == jnp.float32 and packed(name).scales.dtype == jnp.float16:
        with pytest.raises(ValueError, match='float16 has fewer than 8 bits: give scale_dtype="bf'):
            quantized(how, tiny)
        with pytest.raises(ValueError, match="scales are beyond 65504, the largest of float16"):
            quantized(how, np.float32(1e7) * W)


@every
def test_what_is_not_finite_is_refused(name):
    broken = W.copy()
    broken[0, 0], broken[5, 7] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of 65536 weights are NaN or infinite"):
        quantized(QUANTIZERS[name], broken)


@every
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_narrow_weights_are_quantized_as_they_are(name, dtype):
    how, narrow = QUANTIZERS[name], jnp.asarray(W).astype(dtype)
    first, second = quantized(how, narrow), quantized(how, narrow.astype(jnp.float32))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@every
def test_x64_changes_nothing(name):
    with jax.enable_x64(False):
        narrow = [np.asarray(leaf) for leaf in jax.tree.leaves(quantized(QUANTIZERS[name], W))]
    for a, b in zip(narrow, jax.tree.leaves(packed(name)), strict=True):
        assert a.tobytes() == np.asarray(b).tobytes()


@every
def test_products(name):
    weight, x = packed(name), jnp.asarray(gaussian(3, IN, seed=1))
    expected = np.asarray(x, np.float64) @ np.asarray(weight.dequantize(), np.float64).T
    products = jax.jit(lambda weight, x: weight.times(x))(weight, x)
    np.testing.assert_allclose(products, expected, rtol=1e-4, atol=1e-3)


def test_every_public_quantizer_is_in_the_family():
    public = {
        value
        for value in vars(compressors.weights).values()
        if inspect.isclass(value)
        and issubclass(value, WeightQuantizer)
        and not inspect.isabstract(value)
    }
    assert public == {type(how) for how in QUANTIZERS.values()}
