"""The battery must find what is wrong: every class here breaks one promise."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import Compressor, Constant, Identity, RandK, TopK, Unbiased, message_key
from dopt.errors import ConfigurationError
from theory_checks.compressors import check_compressor, draws_for, examine


def failed(compressor: Compressor, d: int, draws: int = 2048, **also: Any) -> set[str]:
    findings = check_compressor(compressor, d, draws=draws, seed=0, also=also)
    return {finding.check.split(",")[0] for finding in findings if not finding.passed}


@dataclass(frozen=True)
class Halves(Unbiased):
    """Each coordinate travels with probability 1/2, doubled, and times 1 + tilt on flat vectors."""

    tilt: float
    name: ClassVar[str] = "Halves"

    def check(self, d: int) -> None:
        pass

    def compress(self, x: Any, *, key: Any) -> Any:
        flat = jnp.all(jnp.abs(x) == jnp.abs(x[0]))
        factor = jnp.where(flat, 2 * (1 + self.tilt), 2.0).astype(x.dtype)
        return jnp.where(jax.random.bernoulli(key, shape=x.shape), x * factor, jnp.zeros_like(x))

    def expand(self, code: Any) -> Any:
        return code

    def pack(self, code: Any) -> Any:
        return {"values": code}

    def unpack(self, message: Any, *, key: Any, d: int) -> Any:
        return message["values"]

    def payload_bits(self, d: int, dtype: Any) -> int:
        return 8 * jnp.dtype(dtype).itemsize * d // 2

    def omega(self, d: int) -> Constant:
        return Constant(1.0, "exact", "every vector")


@dataclass(frozen=True)
class Tilted(RandK):
    """RandK, times 1 + tilt on flat vectors."""

    tilt: float = 0.0

    def compress(self, x: Any, *, key: Any) -> Any:
        flat = jnp.all(jnp.abs(x) == jnp.abs(x[0]))
        factor = jnp.where(flat, 1 + self.tilt, 1.0).astype(x.dtype)
        return super().compress(x * factor, key=key)


@pytest.mark.parametrize("make", [Halves, lambda tilt: Tilted(2, tilt=tilt)])
def test_a_bias_of_one_part_in_a_hundred_on_flat_vectors_is_found(make):
    right, wrong = make(0.0), make(0.01)
    assert failed(right, 256, draws=8192) == set()
    assert "unbiased" in failed(wrong, 256, draws=8192)
    assert draws_for(wrong, 256) >= 8192


@dataclass(frozen=True)
class Misdeclared(Halves):
    """An ω of 1 declared as `factor`."""

    factor: float

    def omega(self, d: int) -> Constant:
        return Constant(self.factor, "exact", "every vector")


def test_an_omega_ten_percent_off_is_found():
    assert failed(Misdeclared(0.0, factor=0.9), 20) == {"omega holds", "omega is attained"}
    assert failed(Misdeclared(0.0, factor=1.1), 20) == {"omega is attained"}
    assert failed(Misdeclared(0.0, factor=0.9), 256) == {"omega holds", "omega is attained"}


class Stuck(Halves):
    """One coin for ever."""

    def compress(self, x: Any, *, key: Any) -> Any:
        return super().compress(x, key=jax.random.key(0))


class Stateful(Identity):
    """What is sent depends on how often it was called."""

    calls: ClassVar[Any] = itertools.count()

    def compress(self, x: Any, *, key: Any) -> Any:
        return x + next(self.calls)


class Greedy(TopK):
    def alpha(self, d: int) -> Constant:
        return Constant(1.1 * super().alpha(d).value, "bound", "wrong")


class Hopeless(TopK):
    def alpha(self, d: int) -> Constant:
        return Constant(0.0, "bound", "says nothing")


class Unsigned(Identity):
    def pack(self, code: Any) -> Any:
        return {"values": jnp.abs(code)}


class Thrifty(Identity):
    def nbits(self, d: int, dtype: Any, *, key: Any = None) -> int:
        return super().nbits(d, dtype) - 1


class Overfull(Identity):
    def payload_bits(self, d: int, dtype: Any) -> int:
        return super().payload_bits(d, dtype) + 1


class Normed(Identity):
    """0/0 at zero."""

    def compress(self, x: Any, *, key: Any) -> Any:
        size = jnp.abs(x).max()
        return x / size * size


class Overflowing(Identity):
    """A norm by the sum of squares."""

    def compress(self, x: Any, *, key: Any) -> Any:
        size = jnp.sqrt(jnp.sum(x * x))
        return jnp.where(size > 0, x / size * size, jnp.zeros_like(x))


class Hiding(Identity):
    def compress(self, x: Any, *, key: Any) -> Any:
        return jnp.nan_to_num(x)


class Leaking(Identity):
    """One coordinate that is no number spoils all, and the class says that it does not."""

    def compress(self, x: Any, *, key: Any) -> Any:
        size = jnp.abs(x).max()
        return jnp.where(jnp.isfinite(size), x, size)


class Contained(Leaking):
    nonfinite = "spreads"


class Spreading(Hiding):
    nonfinite = "spreads"


class Lifting(Identity):
    """Subnormal numbers come back as large ones."""

    def compress(self, x: Any, *, key: Any) -> Any:
        small = (x != 0) & (jnp.abs(x) < 2 * jnp.finfo(x.dtype).smallest_subnormal)
        return jnp.where(small, jnp.ones_like(x), x)


class Widening(Identity):
    def expand(self, code: Any) -> Any:
        return code.astype(jnp.float64)


class Lazy(Halves):
    """The mean of m messages that share one key."""

    def compress_mean(self, x: Any, m: Any, *, key: Any, most: int) -> Any:
        return self.compress(x, key=message_key(key, 0))


class Unweighted(Identity):
    def expand_sum(self, codes: Any, weights: Any) -> Any:
        return codes.sum(axis=0)


class Offset(Identity):
    """The zero vector does not stay zero."""

    def compress(self, x: Any, *, key: Any) -> Any:
        return jnp.where(jnp.any(x != 0), x, jnp.ones_like(x))


@pytest.mark.parametrize(
    ("compressor", "check"),
    [
        (Stuck(0.0), "other keys"),
        (Stateful(), "same key"),
        (Greedy(3), "1 - alpha holds"),
        (Hopeless(3), "alpha in (0"),
        (Unsigned(), "unpack(pack(code)) is code"),
        (Unsigned(), "decode(encode(x)) is expand(compress(x))"),
        (Thrifty(), "nbits"),
        (Overfull(), "nbits"),
        (Normed(), "finite"),
        (Overflowing(), "finite"),
        (Hiding(), "NaN and infinities: in place"),
        (Leaking(), "NaN and infinities: in place"),
        (Spreading(), "NaN and infinities: spreads"),
        (Widening(), "finite"),
        (Lazy(0.0), "compress_mean is the mean of the loop"),
        (Unweighted(), "expand_sum is the weighted loop"),
        (Offset(), "zero stays zero"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_promise_is_found(compressor, check):
    assert check in failed(compressor, 12)


def test_too_few_draws_are_refused():
    with pytest.raises(ConfigurationError, match=r"100 draws .* d = 50: .* draws >= 1600"):
        check_compressor(RandK(1), 50, draws=100, seed=0)


def test_the_compressor_refuses_the_dimension_first():
    with pytest.raises(ValueError, match="K = 3 of d = 2"):
        check_compressor(RandK(3), 2, draws=1, seed=0)


def test_spreading_is_fine_where_it_is_declared():
    assert failed(Contained(), 12) == set()


def test_a_constant_may_be_attained_at_a_vector_of_its_own():
    """Of the battery's vectors none has two equal coordinates and no others."""

    class Pairs(TopK):
        def alpha(self, d: int) -> Constant:
            return Constant(0.5, "exact", "two equal coordinates")

    pair = np.eye(12)[3] + np.eye(12)[7]
    assert failed(Pairs(1), 12) == {"1 - alpha holds", "1 - alpha is attained"}
    assert failed(Pairs(1), 12, pair=pair) == {"1 - alpha holds"}


def test_a_report_holds_the_numbers_of_the_table():
    report = examine(RandK(5, indices="sent"), 33, draws=1024, seed=0)
    assert report.passed
    assert report.bits == (32 * 6, 32 * 6, 5 * 38)
    assert report.draws == 1024
    (omega,) = report.constants
    assert (omega.name, omega.declared, omega.kind) == ("omega", 33 / 5 - 1, "exact")
    assert omega.low <= omega.measured <= omega.high
    assert omega.measured == pytest.approx(5.6)
    assert 0 < report.bias < 6
    wrong = examine(Greedy(3), 12, draws=1024, seed=0)
    assert not wrong.passed
    assert wrong.bias is None
    assert wrong.constants[0].measured > wrong.constants[0].declared
    assert wrong.constants[0].vector == "constant"


def test_a_number_of_draws_that_omega_can_do_with():
    assert draws_for(RandK(2), 256) == 2**16
    assert draws_for(RandK(1), 10**6) == 32 * 10**6
    assert draws_for(TopK(1), 16) == 2**16
