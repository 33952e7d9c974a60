"""Means that should be zero where what is sent is rare, and limits in d."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import AsymptoticallyUnbiased, Constant, RandomDithering
from theory_checks.battery.moments import measure
from theory_checks.battery.promises import check_centred, promises
from theory_checks.battery.vectors import vectors


KEY = jax.random.key(0)


def failed(compressor: Any, d: int) -> set[str]:
    findings = promises(compressor, vectors(d, np.float64, 0), KEY, 1024).findings
    return {finding.check for finding in findings if not finding.passed}


def test_what_was_never_sent_is_no_bias():
    """A coordinate of 1e-6‖x‖ is sent once in a million draws."""
    rare, never, seen = (
        measure(RandomDithering(1), name, np.array(x), KEY, 4096, least=4096)
        for name, x in (
            ("rare", [1.0, 1.0, 1e-6]),
            ("never", [1.0, 1e-6, 0.0]),
            ("seen", [1.0, 2.0, 3.0]),
        )
    )
    assert rare.random
    assert rare.sd[2] == 0 > rare.mean[2]
    assert not never.random
    assert check_centred("", [rare, never, seen], slice(0, 3), 1e-13).passed
    assert check_centred("", [rare, never, seen], slice(3, 6), 1e-13).passed


def test_a_bias_beyond_what_is_unseen_is_found():
    run = measure(RandomDithering(1), "flat", np.ones(4), KEY, 65536)
    biased = run._replace(mean=run.mean + 0.02)
    assert not check_centred("", [run, biased], slice(0, 4), 1e-13).passed


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
    assert failed(Shrinking(), d) == set()


@pytest.mark.parametrize(
    ("compressor", "expected"),
    [
        (Staying(), "the bias declines with d"),
        (Shrinking(0.8), "limit_omega is approached"),
    ],
)
def test_a_broken_promise_about_the_limit_is_found(compressor, expected):
    assert expected in failed(compressor, 33)
