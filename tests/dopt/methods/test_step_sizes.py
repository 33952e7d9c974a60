"""Theory's step sizes, worked out by hand from the constants of a problem and a compressor."""

from dataclasses import replace

import numpy as np
import pytest
from families import METHODS, D, N, budgeted

from compressors import Constant, CorrelatedQuantization, PermK, RandK, TopK
from compressors.allocation import Uniform
from dopt.errors import ConfigurationError, UnsupportedError
from dopt.methods import (
    DASHA,
    DCGD,
    DIANA,
    EF14,
    EF21,
    EF21P,
    EF21PP,
    EF21SGDM,
    MARINA,
    PPMARINA,
    GradientDescent,
    Kimad,
    LocalSGD,
)
from dopt.policies import RoundTime
from dopt.problems import Constants


def known(**values):
    return Constants(**{name: Constant(value, "exact", "") for name, value in values.items()})


ALL = {"L": 2.0, "L_max": 5.0, "L_plus": 3.0, "L_pm": 2.5}
OMEGA = 4.0
"""RandK(4) of 20 coordinates."""
THETA = 1 - np.sqrt(0.8)
"""TopK(4) of 20 coordinates: α = 0.2."""
BETA = 0.8 / THETA
ABSENT = np.sqrt(1 - 0.2 * 4 / 6)
ETA = 0.3
RHO = np.sqrt(0.9) / (1 - np.sqrt(0.9))
"""√(β/θ) of α = 1/10."""
SHRINKS = 1 - 2 * 0.1 + 0.1**2 * (1 + OMEGA)
"""Of the squared distance of a shift that moves by a tenth."""

CASES = {
    "gradient-descent": (GradientDescent(1.0), "L", 1 / 2),
    "dcgd": (DCGD(1.0, RandK(4)), "L L_max", 1 / (2 + 2 * OMEGA * 5 / 6)),
    "dcgd-correlated": (
        DCGD(1.0, CorrelatedQuantization()),
        "L L_max",
        1 / (2 + 2 * 19 * 5 / 6),
    ),
    "diana": (
        DIANA(1.0, RandK(4)),
        "L L_plus",
        1 / (2 + 3 * np.sqrt(OMEGA / 6) / (1 - np.sqrt(1 - 1 / 5))),
    ),
    "diana-shift": (
        DIANA(1.0, RandK(4), shift=0.1),
        "L L_plus",
        1 / (2 + 3 * np.sqrt(OMEGA / 6) / (1 - np.sqrt(SHRINKS))),
    ),
    "ef14": (EF14(1.0, TopK(4)), "L", 1 / (2 * (2 + np.sqrt(2 * BETA / THETA)))),
    "ef21": (EF21(1.0, TopK(4)), "L L_plus", 1 / (2 + 3 * np.sqrt(BETA / THETA))),
    "ef21-pp": (
        EF21PP(1.0, TopK(4), participants=4),
        "L L_plus",
        1 / (2 + 3 * ABSENT / (1 - ABSENT)),
    ),
    "ef21-sgdm": (
        EF21SGDM(1.0, TopK(4), momentum=ETA),
        "L L_plus",
        1 / (2 + np.sqrt(4 * BETA / THETA * (0.09 + 0.49) * 9 + 2 * (0.7 / 0.3) ** 2 * 4)),
    ),
    "ef21-p": (EF21P(1.0, TopK(4)), "L", 1 / (2 * (1 + np.sqrt(BETA / THETA)))),
    # The smallest messages keep one of ten coordinates of a layer: α is a tenth both ways.
    "kimad": (
        Kimad(1.0, *[budgeted(D, Uniform())] * 2, RoundTime(1.0)),
        "L L_plus",
        1 / ((1 + RHO) * (2 + 3 * (1 + np.sqrt(0.9)) * RHO)),
    ),
    "dasha": (DASHA(1.0, RandK(4)), "L L_plus", 1 / (2 + 3 * np.sqrt(2 * OMEGA * 9 / 6))),
    "marina": (
        MARINA(1.0, RandK(4), p=0.3),
        "L L_plus L_pm",
        1 / (2 + 3 * np.sqrt(0.7 / 0.3 * OMEGA / 6)),
    ),
    # A = B = 1: the Hessian variance alone.
    "marina-permk": (
        MARINA(1.0, PermK(), p=0.3),
        "L L_plus L_pm",
        1 / (2 + 2.5 * np.sqrt(0.7 / 0.3)),
    ),
    "marina-correlated": (
        MARINA(1.0, CorrelatedQuantization(), p=0.3),
        "L L_plus L_pm",
        1 / (2 + 3 * np.sqrt(0.7 / 0.3 * 19 / 6)),
    ),
    # A sample of 4 of 6 adds s = (6 − 4)/(4·5) to A and B.
    "pp-marina": (
        PPMARINA(1.0, RandK(4), p=0.3, participants=4),
        "L L_plus L_pm",
        1 / (2 + np.sqrt(0.7 / 0.3 * (OMEGA / 4 * 9 + 0.1 * 2.5**2))),
    ),
    "local-sgd": (
        LocalSGD(1.0, local_steps=3),
        "L L_max",
        1 / max(2 * 5 * 3, 5 * np.sqrt(8 / 3 * 2 * 5)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_step_sizes_by_hand(name):
    method, _, expected = CASES[name]
    assert method.theory_step_size(known(**ALL), D, N) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_constant_that_is_not_known_is_named(name):
    method, needs, _ = CASES[name]
    for missing in needs.split():
        few = {k: value for k, value in ALL.items() if k != missing}
        with pytest.raises(ConfigurationError, match=rf"needs the constant {missing}, which"):
            method.theory_step_size(known(**few), D, N)
    # Nothing else is asked for.
    only = {k: ALL[k] for k in needs.split()}
    assert method.theory_step_size(known(**only), D, N) > 0


def test_equal_workers_have_the_constants_of_equal_inputs():
    """L_± = 0: the error of n correlated messages of one vector is d/n² of its square."""
    method, constants = MARINA(1.0, CorrelatedQuantization(), p=0.3), ALL | {"L_pm": 0.0}
    expected = 1 / (2 + 3 * np.sqrt(0.7 / 0.3 * 20 / 36))
    assert method.theory_step_size(known(**constants), D, N) == pytest.approx(expected, rel=1e-12)
    method = MARINA(1.0, PermK(), p=0.3)
    assert method.theory_step_size(known(**constants), D, N) == pytest.approx(1 / 2, rel=1e-12)


@pytest.mark.parametrize("name", ["power-sgd", "vr-marina", "dasha-mvr"])
def test_methods_without_a_step_size_say_so(name):
    method = METHODS[name](D, N)
    with pytest.raises(UnsupportedError, match=method.name):
        method.theory_step_size(known(**ALL), D, N)


def test_a_compressed_way_up_has_no_step_size_of_ef21_p():
    with pytest.raises(UnsupportedError, match=r"uncompressed, not by RandK\(K=4"):
        EF21P(1.0, TopK(4), RandK(4)).theory_step_size(known(**ALL), D, N)


@pytest.mark.parametrize("name", ["ef14", "ef21", "ef21-pp", "ef21-sgdm", "ef21-p"])
def test_a_compressor_without_a_contraction_constant_is_refused(name):
    method = CASES[name][0]
    argument = "server_compressor" if name == "ef21-p" else "compressor"
    unbiased = replace(method, **{argument: RandK(4)})
    with pytest.raises(ConfigurationError, match="declares no contraction constant alpha"):
        unbiased.theory_step_size(known(**ALL), D, N)
