import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from weights import gaussian

from compressors.weights import AF4, FP4, FP8, MXFP4, NF4, relative_error
from compressors.weights.e2m1 import VALUES, e2m1_codes


def codes_of(weight):
    return np.asarray(weight.coding.unpack(weight.words, weight.inputs))


@pytest.mark.parametrize("kind", [NF4, AF4])
def test_nearest_value_in_the_stored_scale(kind):
    W = gaussian(4, 48)
    weight = kind(16).quantize(W).weight
    table = np.asarray(weight.table)[:, 0]
    assert (len(table), table[0], table[7], table[15]) == (16, -1, 0, 1)
    for o in range(4):
        for j in range(48):
            group = W[o, j - j % 16 : j - j % 16 + 16]
            scale = np.float16(np.abs(group).max())
            assert weight.scales[o, j // 16] == scale
            distances = np.abs(np.float64(W[o, j]) / np.float64(scale) - table)
            assert distances[codes_of(weight)[o, j]] <= distances.min() + 1e-6


PUBLISHED = [
    (NF4(32), 0.007620),
    (NF4(64), 0.008468),
    (NF4(128), 0.009143),
    (AF4(32), 0.008210),
    (AF4(64), 0.009146),
    (FP4(32), 0.010222),
    (FP4(128), 0.011842),
]


@pytest.mark.parametrize(("how", "error"), PUBLISHED)
def test_known_errors_on_normal_weights(how, error):
    W = gaussian(1024, 1024, seed=2)
    assert relative_error(W, how.quantize(W).weight.dequantize()) == pytest.approx(error, rel=0.01)


def test_e2m1_is_that_of_the_standard():
    x = np.concatenate([np.linspace(-8, 8, 4097), [0.2499, 0.2501, -1e-9, 1e9, -1e9]])
    x = x.astype(np.float32)
    codes = np.asarray(e2m1_codes(jnp.asarray(x)))
    rounded = np.clip(x, -6, 6).astype(ml_dtypes.float4_e2m1fn).astype(np.float32)
    np.testing.assert_array_equal(VALUES[codes, 0], rounded)
    patterns = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    np.testing.assert_array_equal(VALUES[:, 0], patterns)
    assert not (codes == 8).any()


def test_mxfp4_follows_the_rule_of_the_standard():
    W = gaussian(8, 64) * np.exp2(np.arange(-20, 20, 5, dtype=np.float32))[:, None]
    W[0, :32], W[1, :32] = 0, 0
    W[1, 5] = -4
    weight = MXFP4().quantize(W).weight
    assert (weight.scales.dtype.name, weight.scales.dtype.itemsize) == ("float8_e8m0fnu", 1)
    back = np.asarray(weight.dequantize())
    for o in range(8):
        for g in range(2):
            w = W[o, 32 * g : 32 * g + 32]
            most = np.abs(w).max()
            scale = 2.0 ** (np.floor(np.log2(most)) - 2) if most else 1.0
            units = np.clip(w / scale, -6, 6).astype(ml_dtypes.float4_e2m1fn)
            assert float(weight.scales[o, g]) == scale
            np.testing.assert_array_equal(
                back[o, 32 * g : 32 * g + 32], units.astype(np.float32) * np.float32(scale)
            )


def test_mxfp4_of_the_smallest_and_largest_floats():
    W = np.zeros((2, 32), np.float32)
    W[0, 0], W[1, 0] = 2e-38, 3e38
    weight = MXFP4().quantize(W).weight
    back = np.asarray(weight.dequantize())
    np.testing.assert_allclose(back[:, 0], W[:, 0], rtol=0.25)
    with pytest.raises(ValueError, match="groups of 32 do not divide 48 inputs"):
        MXFP4().quantize(gaussian(2, 48))


def test_fp8_is_the_cast_to_e4m3():
    W = gaussian(6, 40) * np.exp(np.arange(6, dtype=np.float32))[:, None]
    W[4] = 0
    weight = FP8().quantize(W).weight
    scale = np.asarray(weight.scales)
    np.testing.assert_allclose(scale[:, 0], np.abs(W).max(axis=1) / 448, rtol=2e-7)
    units = np.clip(W / np.where(scale > 0, scale, 1), -448, 448).astype(ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(codes_of(weight), units.view(np.uint8))
    np.testing.assert_array_equal(weight.dequantize(), units.astype(np.float32) * scale)


def test_fp8_never_makes_nan():
    # The scale that is stored may be smaller than the largest weight over 448.
    for seed in range(8):
        W = gaussian(32, 16, seed)
        codes = codes_of(FP8(scale_dtype="bfloat16").quantize(W).weight)
        assert not np.isin(codes, (0x7F, 0xFF)).any()
