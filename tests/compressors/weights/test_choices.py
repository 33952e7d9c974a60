import numpy as np
import pytest
from weights import QUANTIZERS, gaussian

from compressors.weights import (
    FP8,
    GPTQ,
    HIGGS,
    HQQ,
    METHODS,
    MXFP4,
    NF4,
    RoundToNearest,
    candidates,
    expected_error,
    quantizer_of,
)


def test_every_method_of_the_family_has_a_name():
    kinds = {type(how) for name in METHODS for how in candidates(name, 8, 32)}
    assert kinds == {type(how) for how in QUANTIZERS.values()}


@pytest.mark.parametrize("name", METHODS)
def test_candidates_are_a_front(name):
    settings = candidates(name, 16, 48)
    bits = [how.nbits(16, 48) for how in settings]
    errors = [expected_error(how, 48) for how in settings]
    assert bits == sorted(set(bits))
    assert errors == sorted(set(errors), reverse=True)
    for how in METHODS[name](48):
        assert any(
            b <= how.nbits(16, 48) and e <= expected_error(how, 48)
            for b, e in zip(bits, errors, strict=True)
        )


@pytest.mark.parametrize(
    ("name", "bits", "expected"),
    [
        ("rtn", 4.25, RoundToNearest(4, 64)),
        ("rtn", 3.25, RoundToNearest(3, 64)),
        ("nf4", 4.25, NF4(64)),
        ("mxfp4", 4.25, MXFP4()),
        ("fp8", 8.25, FP8()),
        ("hqq", 4.5, HQQ(4, 64)),
        ("gptq", 4.125, GPTQ(4, 128)),
        ("gptq-act", 4.125, GPTQ(4, 128, act_order=True, static_groups=True)),
        ("higgs", 4.016, HIGGS(2, 256)),
    ],
)
def test_settings_of_a_budget(name, bits, expected):
    how = quantizer_of(name, bits, 512, 1024)
    if name == "higgs":
        assert expected_error(how) <= expected_error(expected)
    else:
        assert how == expected
    assert how.nbits(512, 1024) <= bits * 512 * 1024


def test_nothing_that_fits_is_better():
    out, inputs, bits = 4, 96, 4.4
    chosen = quantizer_of("rtn-asym", bits, out, inputs)
    for b in range(2, 9):
        for group in (g for g in range(16, 97) if inputs % g == 0):
            how = RoundToNearest(b, group, symmetric=False)
            if how.empty(out, inputs).nbits <= bits * out * inputs:
                assert expected_error(chosen) <= expected_error(how)


def test_groups_that_are_not_powers_of_two():
    assert quantizer_of("rtn-asym", 4.25, 576, 576) == RoundToNearest(4, 96, symmetric=False)
    assert quantizer_of("nf4", 4.5, 64, 172) == NF4(43)


def test_error_of_powers_of_two_is_a_mean_over_sizes():
    measured = []
    for size in np.exp2(np.arange(8) / 8):
        W = gaussian(128, 1024, seed=1) * np.float32(size)
        back = np.asarray(MXFP4().quantize(W).weight.dequantize())
        measured.append(np.mean((back - W) ** 2) / size**2)
    assert np.mean(measured) == pytest.approx(expected_error(MXFP4()), rel=0.01)
    assert max(measured) > 1.05 * min(measured)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"method 'awq': give one of rtn, rtn-clip, rtn-asym"):
        candidates("awq", 8, 64)
    with pytest.raises(
        ValueError, match=r"nf4 has nothing for a matrix \[8, 64\] at 3 bits a weight: give one of "
    ) as caught:
        quantizer_of("nf4", 3.0, 8, 64)
    named = str(caught.value).split("give one of ")[1].removesuffix(", or more").split(", ")
    for budget in named:
        assert quantizer_of("nf4", float(budget), 8, 64)
    with pytest.raises(ValueError, match=r"mxfp4 has nothing for .* take another method"):
        quantizer_of("mxfp4", 5.0, 8, 80)
