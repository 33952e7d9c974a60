import numpy as np
import pytest
from weights import gaussian

from compressors.weights import Clipping, RoundToNearest, relative_error


def best_of_all(w, bits, clip, symmetric):
    """Steps and codes of a group by trying every share in a plain loop."""
    best = (np.inf,)
    for i in range(clip.candidates):
        share = np.float32(1 - i / clip.grid)
        if symmetric:
            zero = 1 << (bits - 1)
            step = np.float16(np.abs(w).max() * share / np.float32((2**bits - 1) / 2))
        else:
            low, high = min(w.min(), 0) * share, max(w.max(), 0) * share
            step = np.float16((high - low) / np.float32(2**bits - 1))
            zero = np.clip(np.round(-low / np.float32(step)), 0, 2**bits - 1)
        q = np.clip(np.round(w / np.float32(step)) + zero, 0, 2**bits - 1)
        error = np.sum(np.abs((q - zero) * np.float64(step) - w) ** clip.norm)
        if error < best[0] * (1 - 1e-6):
            best = (error, step, q)
    return best[1:]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("clip", [Clipping(), Clipping(grid=20, most=0.6, norm=2.0)])
def test_the_best_of_all_shares(symmetric, clip):
    W = gaussian(6, 32, seed=3)
    weight = RoundToNearest(3, 16, symmetric, clip=clip).quantize(W).weight
    codes = np.asarray(weight.coding.unpack(weight.words, 32))
    for o in range(6):
        for g in range(2):
            step, q = best_of_all(W[o, 16 * g : 16 * g + 16], 3, clip, symmetric)
            assert weight.scales[o, g] == step
            np.testing.assert_array_equal(codes[o, 16 * g : 16 * g + 16], q)


def test_no_group_gets_worse():
    W = gaussian(64, 64)
    W[:, 0] *= 6
    clipped = RoundToNearest(3, 32, clip=Clipping(most=0.8, norm=2.0)).quantize(W).weight
    plain = RoundToNearest(3, 32).quantize(W).weight
    errors = [
        np.sum((np.asarray(weight.dequantize()) - W).reshape(64, 2, 32) ** 2, axis=2)
        for weight in (clipped, plain)
    ]
    assert (errors[0] <= errors[1] * (1 + 1e-6)).all()
    assert errors[0].sum() < 0.9 * errors[1].sum()


def test_tiny_weights_are_clipped_as_others():
    W = gaussian(8, 32)
    how = RoundToNearest(4, 32, clip=Clipping(), scale_dtype="float32")
    # Errors of 1e-20 to the power of 2.4 would vanish in float32.
    tiny = np.float32(2.0**-70) * W
    usual = relative_error(W, how.quantize(W).weight.dequantize())
    assert relative_error(tiny, how.quantize(tiny).weight.dequantize()) == pytest.approx(usual)


@pytest.mark.parametrize("settings", [{"grid": 0}, {"most": 1.0}, {"most": 0.0}, {"norm": 0.0}])
def test_what_is_refused(settings):
    with pytest.raises(ValueError, match="give grid ≥ 1, 0 < most < 1 and norm > 0"):
        Clipping(**settings)
