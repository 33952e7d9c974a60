"""The battery of exchanges finds what is wrong: every class here breaks one promise."""

from typing import Any

import jax.numpy as jnp
import pytest

from compressors import PowerSGD
from theory_checks.collectives import check_collective


class First(PowerSGD):
    """Only the first worker is heard."""

    def exchange(self, xs: Any, state: Any) -> Any:
        return super().exchange(xs[:1], state)


class Summing(PowerSGD):
    def exchange(self, xs: Any, state: Any) -> Any:
        estimate, state = super().exchange(xs, state)
        return estimate * xs.shape[0], state


class Widening(PowerSGD):
    def exchange(self, xs: Any, state: Any) -> Any:
        estimate, state = super().exchange(xs, state)
        return estimate.astype(jnp.float64), state


class Remembering(PowerSGD):
    """The state is spoilt by the first NaN."""

    def exchange(self, xs: Any, state: Any) -> Any:
        estimate, _ = super().exchange(xs, state)
        return estimate, jnp.where(jnp.isfinite(xs).all(), state, jnp.nan)


class Dying(PowerSGD):
    """A round of zeros leaves a state that nothing comes out of."""

    def exchange(self, xs: Any, state: Any) -> Any:
        estimate, after = super().exchange(xs, state)
        estimate = jnp.where(jnp.isnan(state).any(), 0, estimate)
        return estimate, jnp.where(xs.any(), after, jnp.nan)


class Hiding(PowerSGD):
    def exchange(self, xs: Any, state: Any) -> Any:
        return super().exchange(jnp.where(jnp.isfinite(xs), xs, jnp.zeros_like(xs)), state)


class Free(PowerSGD):
    def nbits(self, d: int, dtype: Any) -> int:
        return 0


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (First, "the order of workers plays no part"),
        (Summing, "equal workers are one worker"),
        (Widening, "finite, of the same shape and dtype"),
        (Remembering, "the state forgets NaN and infinities"),
        (Dying, "a round of zeros is survived"),
        (Hiding, "NaN and infinities show"),
        (Free, "nbits is positive"),
    ],
)
def test_a_broken_promise_is_found(broken, check):
    findings = check_collective(broken(2, (3, 4)), 12, seed=0)
    failed = {finding.check.rsplit(",", 1)[0] for finding in findings if not finding.passed}
    assert check in failed


def test_the_collective_refuses_the_dimension_first():
    with pytest.raises(ValueError, match="d = 13"):
        check_collective(PowerSGD(1, (3, 4)), 13, seed=0)
