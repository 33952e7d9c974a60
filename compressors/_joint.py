"""Families of compressors that share a coin, and exchanges in several phases."""

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Code, Compressor, Constant, Unbiased


class Joint(abc.ABC):
    """n compressors C_1 … C_n, each unbiased, whose errors are tied by a coin that they share.

    The promise is about their mean (Szlendak, Tyurin, Richtárik 2021, arXiv 2110.03300): for all
    inputs

        E‖(1/n) Σ C_i(x_i) − x̄‖² ≤ A·(1/n) Σ‖x_i‖² − B·‖x̄‖².

    A member is a compressor like any other once coin and rank are given, so that messages, codes
    and the server's sum are those of `Compressor`. The coin is one for all members and drawn afresh
    each round; a member's own randomness is the `key` of its `compress`, and no two members have
    the same. Unbiased is a member over both, not for a fixed coin.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def check(self, d: int, n: int) -> None:
        """Raises `ValueError` where the parameters do not fit d dimensions and n members."""

    @abc.abstractmethod
    def member(self, *, coin: PRNGKeyArray, rank: Int[Array, ""] | int, n: int) -> Compressor:
        """C_rank in the round of `coin`; `rank` in [0, n) may be traced and vmapped over."""

    @abc.abstractmethod
    def omega(self, d: int, n: int) -> Constant:
        """ω of one member: E‖C_i(x) − x‖² ≤ ω‖x‖², over coin and key."""

    @abc.abstractmethod
    def ab(self, d: int, n: int) -> tuple[Constant, Constant]:
        """A and B, valid for all inputs."""

    def ab_equal_inputs(self, d: int, n: int) -> tuple[Constant, Constant]:
        """A and B where x_1 = … = x_n; by default those for all inputs."""
        return self.ab(d, n)

    def expand_sum(
        self,
        codes: Code,
        weights: Float[Array, " P"],
        *,
        coin: PRNGKeyArray,
        ranks: Int[Array, " P"],
        n: int,
    ) -> Float[Array, " d"]:
        """The weighted sum of the vectors of the codes of some members (leading axis P)."""

        def expand(rank: Int[Array, ""], code: Code) -> Float[Array, " d"]:
            return self.member(coin=coin, rank=rank, n=n).expand(code)

        return jnp.tensordot(weights, jax.vmap(expand)(ranks, codes), axes=1)

    def nbits(self, d: int, n: int, dtype: Any) -> int:
        """Bits of the packed arrays of one member's message."""
        key = jax.random.key(0)
        return self.member(coin=key, rank=0, n=n).nbits(d, dtype)


def check_members(name: str, n: int) -> None:
    """Raises `ValueError` unless n ≥ 1."""
    if n < 1:
        raise ValueError(f"{name} ties at least one member, not n = {n}: give n >= 1")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IndependentFamily(Joint):
    """n copies of an unbiased compressor, each with its own key; the coin is not used.

    Errors of different members are uncorrelated: A = ω/n, B = 0.

    Attributes:
        compressor: what every member does.
    """

    compressor: Unbiased = field(metadata={"static": True})
    name: ClassVar[str] = "independent"

    def check(self, d: int, n: int) -> None:
        """Raises `ValueError` where the compressor refuses d, or n < 1."""
        self.compressor.check(d)
        check_members(self.name, n)

    def member(self, *, coin: PRNGKeyArray, rank: Int[Array, ""] | int, n: int) -> Unbiased:
        """The compressor."""
        return self.compressor

    def expand_sum(
        self,
        codes: Code,
        weights: Float[Array, " P"],
        *,
        coin: PRNGKeyArray,
        ranks: Int[Array, " P"],
        n: int,
    ) -> Float[Array, " d"]:
        """That of the compressor."""
        return self.compressor.expand_sum(codes, weights)

    def omega(self, d: int, n: int) -> Constant:
        """That of the compressor."""
        return self.compressor.omega(d)

    def ab(self, d: int, n: int) -> tuple[Constant, Constant]:
        """(ω/n, 0), as exact as ω: the tuple is the vector that attains ω, n times."""
        self.check(d, n)
        omega = self.compressor.omega(d)
        return omega._replace(value=omega.value / n), Constant(0.0, omega.kind, omega.note)


class Collective(abc.ABC):
    """An exchange in which n workers and a server talk more than once, with a state they keep.

    It has no message of a single worker and so is no compressor; all workers hold the same state.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def check(self, d: int) -> None:
        """Raises `ValueError` where the parameters do not fit the dimension `d`."""

    @abc.abstractmethod
    def init(self, d: int, dtype: Any, *, key: PRNGKeyArray) -> Any:
        """The state before the first exchange."""

    @abc.abstractmethod
    def exchange(self, xs: Float[Array, "n d"], state: Any) -> tuple[Float[Array, " d"], Any]:
        """What all workers hold afterwards for the mean of the rows of `xs`, and the new state."""

    @abc.abstractmethod
    def nbits(self, d: int, dtype: Any) -> int:
        """Bits that one worker sends in an exchange, from the shapes of what travels."""
