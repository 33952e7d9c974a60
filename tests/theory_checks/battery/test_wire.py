"""Messages of random size: the battery passes an honest one and finds what others get wrong."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import pytest

from compressors import Constant, RandomSize, Unbiased
from theory_checks.compressors import check_compressor


@dataclass(frozen=True)
class Coin(RandomSize, Unbiased):
    """All of 2x, or nothing, by a fair coin."""

    name: ClassVar[str] = "Coin"

    def check(self, d: int) -> None:
        pass

    def heads(self, key: Any) -> Any:
        return jax.random.bernoulli(key)

    def compress(self, x: Any, *, key: Any) -> Any:
        return jnp.where(self.heads(key), 2 * x, jnp.zeros_like(x))

    def expand(self, code: Any) -> Any:
        return code

    def pack(self, code: Any) -> Any:
        return {"values": code}

    def unpack(self, message: Any, *, key: Any, d: int) -> Any:
        values = message["values"]
        return values if values.size == d else jnp.zeros(d, values.dtype)

    def payload_bits(self, d: int, dtype: Any) -> int:
        return 4 * jnp.dtype(dtype).itemsize * d

    def omega(self, d: int) -> Constant:
        return Constant(1.0, "exact", "every vector")

    def trim(self, message: Any, *, key: Any, d: int) -> Any:
        return {"values": message["values"][: d if self.heads(key) else 0]}

    def expected_bits(self, d: int, dtype: Any) -> float:
        return 4.0 * jnp.dtype(dtype).itemsize * d


class Untrimmed(Coin):
    def trim(self, message: Any, *, key: Any, d: int) -> Any:
        return message


class Cut(Coin):
    """The last value is lost on the way."""

    def trim(self, message: Any, *, key: Any, d: int) -> Any:
        return {"values": jnp.asarray(message["values"]).at[-1].set(0)}


class Careless(Coin):
    def nbits(self, d: int, dtype: Any, *, key: Any = None) -> int:
        return super().nbits(d, dtype, key=jax.random.key(0) if key is None else key)


class Flattering(Coin):
    def nbits(self, d: int, dtype: Any, *, key: Any = None) -> int:
        return math.ceil(0.9 * super().nbits(d, dtype, key=key))


@pytest.mark.parametrize(
    ("compressor", "expected"),
    [
        (Coin(), set()),
        (Untrimmed(), {"expected_bits is the mean of nbits"}),
        (Cut(), {"decode(trim(encode(x))) is expand(compress(x))"}),
        (Careless(), {"nbits without a key is refused"}),
        (Flattering(), {"nbits"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_random_sizes(compressor, expected):
    findings = check_compressor(compressor, 12, draws=1024, seed=0)
    failed = {finding.check.split(",")[0] for finding in findings if not finding.passed}
    assert expected <= failed
    assert bool(failed) == bool(expected)
