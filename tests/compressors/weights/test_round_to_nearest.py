import jax.numpy as jnp
import numpy as np
import pytest
from weights import gaussian

from compressors.weights import Clipping, RoundToNearest, relative_error


def codes_of(weight):
    return np.asarray(weight.coding.unpack(weight.words, weight.inputs)).astype(int)


def zeros_of(weight):
    return np.asarray(weight.coding.unpack(weight.zeros, weight.scales.shape[1])).astype(int)


@pytest.mark.parametrize(("bits", "divisor"), [(2, None), (4, None), (4, 7.0), (8, 127.0)])
def test_symmetric_codes_and_steps(bits, divisor):
    W = gaussian(5, 48)
    weight = RoundToNearest(bits, 16, divisor=divisor).quantize(W).weight
    codes, half = codes_of(weight), 1 << (bits - 1)
    for o in range(5):
        for g in range(3):
            w = W[o, 16 * g : 16 * g + 16]
            step = np.float16(np.abs(w).max() / np.float32(divisor or (2 * half - 1) / 2))
            q = np.clip(np.round(w / np.float32(step)), -half, half - 1)
            assert weight.scales[o, g] == step
            np.testing.assert_array_equal(codes[o, 16 * g : 16 * g + 16] - half, q)
            np.testing.assert_array_equal(
                weight.dequantize()[o, 16 * g : 16 * g + 16], q * np.float32(step)
            )


@pytest.mark.parametrize("bits", [3, 8])
def test_asymmetric_codes_steps_and_zeros(bits):
    W = gaussian(4, 40) + np.float32(0.7)
    W[2] = np.abs(W[2])
    weight = RoundToNearest(bits, 20, symmetric=False).quantize(W).weight
    codes, zeros, most = codes_of(weight), zeros_of(weight), (1 << bits) - 1
    for o in range(4):
        for g in range(2):
            w = W[o, 20 * g : 20 * g + 20]
            low, high = min(w.min(), np.float32(0)), max(w.max(), np.float32(0))
            step = np.float16((high - low) / np.float32(most))
            zero = np.clip(np.round(-low / np.float32(step)), 0, most)
            q = np.clip(np.round(w / np.float32(step)) + zero, 0, most)
            assert (weight.scales[o, g], zeros[o, g]) == (step, zero)
            np.testing.assert_array_equal(codes[o, 20 * g : 20 * g + 20], q)
    assert not zeros[2].any()


PUBLISHED = [
    (RoundToNearest(4, 32), 0.008981),
    (RoundToNearest(4, 64), 0.010571),
    (RoundToNearest(4, 128), 0.012270),
    (RoundToNearest(4, 64, divisor=7.0), 0.011585),
    (RoundToNearest(4, 32, symmetric=False), 0.006521),
    (RoundToNearest(4, 128, symmetric=False), 0.010097),
    (RoundToNearest(3, 64, symmetric=False), 0.038070),
    (RoundToNearest(2, 64, symmetric=False), 0.208542),
    (RoundToNearest(4, 64, clip=Clipping(most=0.8, norm=2.0)), 0.009087),
]


@pytest.mark.parametrize(("how", "error"), PUBLISHED)
def test_known_errors_on_normal_weights(how, error):
    W = gaussian(1024, 1024, seed=2)
    assert relative_error(W, how.quantize(W).weight.dequantize()) == pytest.approx(error, rel=0.01)


def test_rows_are_groups():
    W = gaussian(3, 24)
    whole, named = RoundToNearest(3), RoundToNearest(3, 24)
    np.testing.assert_array_equal(whole.quantize(W).weight.words, named.quantize(W).weight.words)
    assert whole.quantize(W).weight.group == 24


def test_groups_far_smaller_than_the_rest():
    W = gaussian(2, 32)
    W[0, :16] *= np.float32(1e-9)
    back = np.asarray(RoundToNearest(4, 16).quantize(W).weight.dequantize())
    assert not back[0, :16].any()
    assert relative_error(W[:, 16:], back[:, 16:]) < 0.01


def test_scales_of_other_dtypes():
    W = gaussian(2, 32)
    for dtype in ("bfloat16", "float32"):
        weight = RoundToNearest(8, 16, scale_dtype=dtype).quantize(W).weight
        assert weight.scales.dtype == jnp.dtype(dtype)
        assert relative_error(W, weight.dequantize()) < 1e-4


def test_what_is_refused():
    with pytest.raises(ValueError, match="integers of 9 bits: give from 2 to 8"):
        RoundToNearest(9)
    with pytest.raises(ValueError, match=r"symmetric=False divided by 7\.0: only symmetric ones"):
        RoundToNearest(4, symmetric=False, divisor=7.0)
    with pytest.raises(ValueError, match=r"symmetric=True divided by -1\.0"):
        RoundToNearest(4, divisor=-1.0)
    sentence = "groups of 128 do not divide 576 inputs: give one of 64, 72, 96, 144, or None"
    with pytest.raises(ValueError, match=sentence):
        RoundToNearest(4, 128).quantize(gaussian(2, 576))
    with pytest.raises(ValueError, match=sentence):
        RoundToNearest(4, 128).nbits(2, 576)
    with pytest.raises(ValueError, match="groups of 0 do not divide 8 inputs"):
        RoundToNearest(4, 0).nbits(2, 8)
    with pytest.raises(ValueError, match="a matrix of 0 inputs"):
        RoundToNearest(4).nbits(2, 0)
