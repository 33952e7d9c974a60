"""Combined maps keep the weighted AB-inequality, and broken promises are found."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from compressors import (
    CorrelatedQuantization,
    Identity,
    IndependentFamily,
    IndependentQuantization,
    NaturalDithering,
    PermK,
    RandK,
)
from dopt.errors import ConfigurationError
from theory_checks.combined import Combined, check_combined, importance, sampled, together, unlike


D, N, R = 7, 6, 3
UNEVEN = np.array([0.3, 0.25, 0.2, 0.12, 0.08, 0.05])

MAPS = {
    "all, RandK": lambda: together(IndependentFamily(RandK(2)), D, N),
    "sampled RandK": lambda: sampled(IndependentFamily(RandK(2)), D, N, R),
    "sampled PermK": lambda: sampled(PermK(), D, N, R),
    "sampled correlated": lambda: sampled(CorrelatedQuantization(), D, N, R),
    "sampled independent": lambda: sampled(IndependentQuantization(), D, N, R),
    "importance, RandK": lambda: importance(RandK(2), D, UNEVEN, R),
    "importance, no compression": lambda: importance(Identity(), D, UNEVEN, 2),
    "unlike": lambda: unlike([RandK(1 + i) for i in range(N)], D),
    "unlike, bounds": lambda: unlike([RandK(2), NaturalDithering(8)], D),
}


@cache
def made(name):
    """Made once: a map of its own is a program of its own."""
    return MAPS[name]()


def broken(combined):
    findings = check_combined(combined, D, draws=16384, seed=0)
    return {finding.check.split(" of ")[0] for finding in findings if not finding.passed}, findings


ALIKE = {"all, RandK", "sampled independent", "unlike, bounds"}
"""Maps that others stand for in a quick run."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in MAPS]
)
def test_the_inequality_holds(name):
    failed, findings = broken(made(name))
    assert failed == set(), findings
    exact = name != "unlike, bounds"
    assert findings[-1].check.endswith("are attained") == exact


def test_wrong_constants_are_found():
    right = made("importance, RandK")
    smaller = replace(right, A=right.A._replace(value=0.9 * right.A.value))
    assert "A and B" in broken(smaller)[0]
    even = replace(right, weights=np.full(N, 1 / N))
    assert "A and B" in broken(even)[0]
    larger = replace(right, B=right.B._replace(value=2 * right.B.value))
    assert "A and B" in broken(larger)[0]


def test_constants_of_all_members_are_not_those_of_a_sample():
    """Sampling of independent messages costs more than fewer of them."""
    right = made("sampled RandK")
    omega = RandK(2).omega(D).value
    assert "A and B" in broken(replace(right, A=right.A._replace(value=omega / R)))[0]


def test_a_loose_constant_is_not_exact():
    right = made("sampled PermK")
    loose = replace(right, A=right.A._replace(value=1.2 * right.A.value))
    failed, findings = broken(loose)
    assert failed == {"A and B"}
    assert not findings[-1].passed
    assert findings[-1].check.endswith("are attained")


def test_a_biased_map_is_found():
    """Drawn by importance and not scaled back."""
    right = made("importance, no compression")

    def draw(xs, key):
        return 0.95 * right.draw(xs, key)

    failed, _ = broken(Combined("biased", draw, right.A, right.B, right.weights))
    assert any(check.startswith("unbiased") for check in failed)


def test_constants_by_hand():
    # A = ω/r + s, s = 3/(3·5); ω = 7/2 − 1
    combined = made("sampled RandK")
    assert combined.A.value == pytest.approx(2.5 / 3 + 0.2)
    assert combined.B.value == pytest.approx(0.2)
    # The ω_i are 6 and so on down to 1/6.
    total = 1 / 6 + 2 / 5 + 3 / 4 + 4 / 3 + 5 / 2 + 6
    assert made("unlike").A.value == pytest.approx(1 / total)
    assert made("unlike").weights == pytest.approx(
        np.array([1 / 6, 2 / 5, 3 / 4, 4 / 3, 5 / 2, 6]) / total
    )


def test_bad_values_are_named():
    with pytest.raises(ConfigurationError, match="sum 1"):
        importance(RandK(2), D, np.full(3, 0.5), 2)
    with pytest.raises(ConfigurationError, match="omega = 0"):
        unlike([RandK(2), Identity()], D)
    with pytest.raises(ConfigurationError, match="draws = 10; give at least 1024"):
        check_combined(made("unlike"), D, draws=10, seed=0)
    with pytest.raises(ConfigurationError, match="r = 7 of n = 6"):
        sampled(IndependentFamily(RandK(2)), D, N, 7)
