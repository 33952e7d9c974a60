import numpy as np
import pytest
from weights import gaussian

from compressors.weights import HQQ, RoundToNearest, relative_error


def plain(w, bits):
    """Zero, codes and mean errors of the rounds of one group, by the numbered steps."""
    most = np.float32(2**bits - 1)
    step = np.float32(np.float16((max(w.max(), 0) - min(w.min(), 0)) / most))
    zero, beta, errors, zeros = np.float16(-min(w.min(), 0) / step), np.float32(10), [], []
    for _ in range(21):
        q = np.clip(np.round(w / step + np.float32(zero)), 0, most)
        e = (w / step - (q - np.float32(zero))) * step
        errors.append(np.abs(e).mean())
        zeros.append(zero)
        if len(errors) > 1 and not errors[-1] < errors[-2]:
            break
        with np.errstate(divide="ignore"):
            shrunk = np.abs(e) - np.abs(e) ** np.float32(0.7 - 1) / beta
        v = np.sign(e) * np.maximum(shrunk, 0)
        zero = np.float16(np.mean(q - (w / step - v / step)))
        beta = beta * np.float32(1.01)
    zero = zeros[int(np.argmin(errors))]
    return step, zero, errors


@pytest.mark.parametrize(("bits", "size"), [(2, 1.0), (4, 1.0), (4, 30.0)])
def test_the_rounds_of_a_plain_loop(bits, size):
    W = gaussian(16, 64) * np.float32(size)
    weight = HQQ(bits, 32).quantize(W).weight
    codes = np.asarray(weight.coding.unpack(weight.words, 64)).astype(np.float32)
    scales, zeros = (np.asarray(a).astype(np.float32) for a in (weight.scales, weight.zeros))
    rounds = set()
    for o in range(16):
        for g in range(2):
            w = W[o, 32 * g : 32 * g + 32]
            step, zero, errors = plain(w, bits)
            rounds.add(len(errors))
            assert scales[o, g] == step
            found = zeros[o, g]
            np.testing.assert_allclose(found, zero, rtol=2e-3, atol=2e-3)
            q = np.clip(np.round(w / step + found), 0, 2**bits - 1)
            np.testing.assert_array_equal(codes[o, 32 * g : 32 * g + 32], q)
            error = np.abs((q - found) * step - w).mean()
            assert error <= errors[0] * (1 + 1e-6)
            np.testing.assert_allclose(error, min(errors), rtol=1e-3)
    # Groups stop after rounds of their own.
    assert len(rounds) > 1


@pytest.mark.parametrize(("bits", "group"), [(3, 64), (4, 64)])
def test_better_than_rounding_on_normal_weights(bits, group):
    W = gaussian(256, 256)
    found = relative_error(W, HQQ(bits, group).quantize(W).weight.dequantize())
    rounded = RoundToNearest(bits, group, symmetric=False).quantize(W).weight.dequantize()
    assert found < 0.95 * relative_error(W, rounded)


def test_groups_of_one_sign_and_of_one_value():
    W = np.abs(gaussian(3, 32)) + np.float32(5)
    W[1], W[2] = -W[1], np.float32(0.25)
    weight = HQQ(4, 16).quantize(W).weight
    back = np.asarray(weight.dequantize())
    assert np.abs(np.asarray(weight.zeros).astype(np.float32)).max() <= 16
    assert np.abs(back - W).max() <= np.asarray(weight.scales).astype(np.float32).max()
    np.testing.assert_allclose(back[2], 0.25, rtol=1e-2)


def test_what_is_refused():
    with pytest.raises(ValueError, match="HQQ of 1 bits: give from 2 to 8"):
        HQQ(1)
