"""Limits in d: a bias that declines, one that stays, and a limit that is not reached."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import pytest

from compressors import AsymptoticallyUnbiased, Constant
from theory_checks.compressors import check_compressor


@dataclass(frozen=True)
class Shrinking(AsymptoticallyUnbiased):
    """2x or nothing in each coordinate, less a part of `bias(d)`."""

    limit: float = 1.0
    name: ClassVar[str] = "Shrinking"

    def bias(self, d: int) -> float:
        return 1 / d

    def check(self, d: int) -> None:
        pass

    def compress(self, x: Any, *, key: Any) -> Any:
        kept = jax.random.bernoulli(key, shape=x.shape)
        factor = 2 * (1 - self.bias(x.size))
        return jnp.where(kept, x * jnp.asarray(factor, x.dtype), jnp.zeros_like(x))

    def expand(self, code: Any) -> Any:
        return code

    def pack(self, code: Any) -> Any:
        return {"values": code}

    def unpack(self, message: Any, *, key: Any, d: int) -> Any:
        return message["values"]

    def payload_bits(self, d: int, dtype: Any) -> int:
        return 8 * jnp.dtype(dtype).itemsize * d

    def limit_omega(self) -> Constant:
        return Constant(self.limit, "exact", "every vector")


class Staying(Shrinking):
    def bias(self, d: int) -> float:
        return 0.05


@pytest.mark.parametrize("d", [1, 33])
def test_a_bias_that_declines_and_a_limit_that_is_approached(d):
    findings = check_compressor(Shrinking(), d, draws=1024, seed=0)
    assert [finding for finding in findings if not finding.passed] == []


@pytest.mark.parametrize(
    ("compressor", "expected"),
    [
        (Staying(), "the bias declines with d"),
        (Shrinking(0.8), "limit_omega is approached"),
    ],
)
def test_a_broken_promise_about_the_limit_is_found(compressor, expected):
    findings = check_compressor(compressor, 33, draws=1024, seed=0)
    assert expected in {finding.check for finding in findings if not finding.passed}
