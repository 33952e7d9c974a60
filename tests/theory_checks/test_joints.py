"""Every family of the catalogue goes through its battery, which finds what is broken."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
import pytest

from compressors import Constant, CorrelatedQuantization, PermK
from compressors._quantized import Member
from dopt.errors import ConfigurationError
from theory_checks.battery.findings import Finding
from theory_checks.catalogue import JOINTS
from theory_checks.joints import check_joint, coins, messages, promises


KEY = jax.random.key(1)


VARIANTS = {"CorrelatedQuantization, k = 5", "IndependentQuantization"}
"""Families with a line of the same class besides."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name for name in JOINTS],
)
def test_the_battery_finds_nothing(name):
    findings = check_joint(JOINTS[name](33, 4), 33, 4, draws=4096, seed=0)
    assert [finding for finding in findings if not finding.passed] == []


def broken(findings: Iterable[Finding]) -> set[str]:
    return {finding.check.split(",")[0] for finding in findings if not finding.passed}


@pytest.mark.parametrize(("d", "n"), [(7, 3), (3, 7), (1, 2), (5, 1)])
def test_uneven_sizes(d, n):
    assert broken(promises(PermK(), d, n, key=KEY, draws=4096, seed=0)) == set()


class Fixed(PermK):
    """One permutation for ever."""

    def member(self, *, coin: Any, rank: Any, n: int) -> Any:
        return super().member(coin=jax.random.key(0), rank=rank, n=n)


class Selfish(PermK):
    """Each member has a coin of its own: A of independent members."""

    def member(self, *, coin: Any, rank: Any, n: int) -> Any:
        return super().member(coin=jax.random.fold_in(coin, rank), rank=rank, n=n)


class Greedy(PermK):
    def ab(self, d: int, n: int) -> tuple[Constant, Constant]:
        a, b = super().ab(d, n)
        return a._replace(value=0.9 * a.value), b


class Modest(PermK):
    def omega(self, d: int, n: int) -> Constant:
        return Constant(n + 1.0, "exact", "wrong")

    def ab(self, d: int, n: int) -> tuple[Constant, Constant]:
        return Constant(1.2, "exact", "wrong"), Constant(1.0, "exact", "wrong")


class Counting(PermK):
    def nbits(self, d: int, n: int, dtype: Any) -> int:
        return super().nbits(d, n, dtype) + 32


@dataclass(frozen=True)
class InOrder(CorrelatedQuantization):
    """Members in a fixed order, moved by the shift alone."""

    name: ClassVar[str] = "in order"

    def member(self, *, coin: Any, rank: Any, n: int) -> Member:
        return _Ordered(coin, rank, n, self.levels, self.span, self.rotated, 0.0)


class _Ordered(Member):
    def _order(self) -> Any:
        return jax.numpy.arange(self.n, dtype=jax.numpy.int32)


@pytest.mark.parametrize(
    ("family", "checks"),
    [
        (Fixed(), {"unbiased", "omega holds"}),
        (Selfish(), {"A and B hold"}),
        (Greedy(), {"A and B hold"}),
        (Modest(), {"omega is attained", "A and B are attained"}),
        (InOrder(), {"A and B hold"}),
        (CorrelatedQuantization(published_constants=True), {"A and B"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_promise_is_found(family, checks):
    assert checks <= broken(promises(family, 9, 6, key=KEY, draws=8192, seed=0))


def test_a_coin_that_never_changes_is_found():
    assert "other rounds" in broken(coins(Fixed(), 9, 4, key=KEY, seed=0))


def test_bits_that_are_miscounted_are_found():
    with np.errstate(over="ignore"):
        assert broken(messages(Counting(), 9, 4, key=KEY, seed=0)) == {"nbits of the family"}


def test_too_few_draws_are_refused():
    with pytest.raises(ConfigurationError, match=r"draws >= 128"):
        check_joint(PermK(), 9, 4, draws=100, seed=0)


def test_the_family_refuses_the_size_first():
    with pytest.raises(ValueError, match="n = 0"):
        check_joint(PermK(), 9, 0, draws=1, seed=0)
