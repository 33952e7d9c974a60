"""Kimad's bandwidth against quadrature and root finding of scipy."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq

from dopt.errors import ConfigurationError
from simulators.rates import Sine


@settings(max_examples=100, deadline=None)
@given(
    eta=st.floats(0.1, 1e6),
    theta=st.floats(0.01, 10.0),
    delta=st.one_of(st.just(0.0), st.floats(0.1, 1e6)),
    phase=st.floats(-7.0, 7.0),
    start=st.floats(0.0, 100.0),
    periods=st.floats(0.01, 2.9),
)
def test_integral_and_inverse_agree_with_scipy(eta, theta, delta, phase, start, periods):
    rate = Sine(eta, theta, delta, phase)
    seconds = periods * rate.period
    nodes = np.linspace(start, start + seconds, 4)
    pieces = pairwise(nodes)
    expected = sum(quad(rate.at, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in pieces)
    assert rate.between(start, start + seconds) == pytest.approx(expected, rel=1e-10)
    amount = 0.9 * expected
    root = brentq(
        lambda t: rate.between(start, t) - amount, start, start + seconds, xtol=1e-13, rtol=1e-14
    )
    passed = rate.between(start, rate.end(start, amount)), rate.between(start, root)
    assert passed[0] == pytest.approx(passed[1], rel=1e-10)


def test_by_hand():
    rate = Sine(2.0, math.pi, 1.0)  # period 1, mean 2
    assert rate.mean() == 2
    assert rate.period == 1
    assert rate.at(0.5) == 3
    assert rate.amount(1) == pytest.approx(2, rel=1e-15)
    assert rate.when(1) == pytest.approx(0.5, rel=1e-15)
    assert rate.end(1e6 + 0.25, 2e3) == pytest.approx(1e6 + 1000.25, abs=1e-9)
    assert Sine(0.0, 1.0, 3.0).end(2.0, 6.0) == 4.0


def test_where_the_rate_touches_zero_a_small_amount_takes_the_cube_root():
    # The integral of sin² from 0 is x³/3 and less by x⁵/15.
    rate = Sine(1.0, 1.0, 0.0)
    for x in (1e-6, 1e-4, 1e-2):
        assert rate.amount(x) == pytest.approx(x**3 / 3 - x**5 / 15, rel=1e-8)
        assert rate.when(rate.amount(x)) == pytest.approx(x, rel=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0, 2.0), "eta = -1.0"),
        ((1.0, 0.0, 2.0), "theta = 0.0"),
        ((1.0, 1.0, -2.0), "delta = -2.0"),
        ((1.0, 1.0, math.nan), "delta = nan"),
        ((1.0, 1.0, 1.0, math.inf), "phase = inf"),
        ((0.0, 1.0, 0), "eta = delta = 0: nothing would ever pass"),
    ],
)
def test_what_is_no_rate_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Sine(*arguments)
