"""What a ladder is: compressors of one vector in order of size."""

import abc
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64, Key, PRNGKeyArray

from compressors._base import Compressor
from compressors._dtype import wide
from compressors.identity import Identity


ErrorsAre = Literal["exact", "expected", "measured"]
"""What the errors of a ladder are: of this vector, their mean over keys, or of this key."""


class Ladder(abc.ABC):
    """Compressors of a vector in order of size: rung 0 sends least, rung `rungs` − 1 most.

    A frozen dataclass without array leaves. Kimad (arXiv 2312.08053) chooses from such a family,
    its Ω; the name is that of video streaming, where a bitrate ladder holds what a link may carry.
    Any rung may be taken for any message: the rung travels with it.
    """

    name: ClassVar[str]
    errors_are: ClassVar[ErrorsAre] = "measured"
    pads: ClassVar[bool] = False
    """Whether rows of several sizes, with zeros behind them, can be worked on together."""

    @property
    @abc.abstractmethod
    def rungs(self) -> int:
        """R, the number of compressors."""

    @abc.abstractmethod
    def check(self, d: int) -> None:
        """Raises `ValueError` where the ladder does not fit the dimension `d`."""

    @abc.abstractmethod
    def member(self, rung: int, d: int, dtype: Any = jnp.float32) -> Compressor:
        """The compressor of a rung for d-vectors of `dtype`.

        The dtype says where a sparse message would be no smaller than a dense one, which is then
        sent. Messages are of one size.
        """

    @abc.abstractmethod
    def bits(self, d: int, dtype: Any) -> Int64[np.ndarray, " R"]:
        """Bits of the packed arrays of every rung; they never decline."""

    def errors(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Float[Array, " R"]:
        """‖C_r(x) − x‖² of every rung, in float32 or wider; `errors_are` says of which draw."""

        def error(rung: int) -> Float[Array, ""]:
            member = self.member(rung, x.shape[0], x.dtype)
            off = member.expand(member.compress(x, key=key)) - x
            return jnp.sum(jnp.square(off.astype(wide(x))))

        return jnp.stack([error(rung) for rung in range(self.rungs)])

    def received(
        self, x: Float[Array, " d"], rung: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Float[Array, " d"]:
        """What arrives when `x` is sent on a rung, which may be traced."""
        d = x.shape[0]
        members = [self.member(r, d, x.dtype) for r in range(self.rungs)]
        distinct = list(dict.fromkeys(members))
        which = jnp.asarray([distinct.index(member) for member in members], jnp.int32)
        ways = [lambda x, m=m: m.expand(m.compress(x, key=key)) for m in distinct]
        return jax.lax.switch(which[rung], ways, x)

    def errors_of_rows(
        self, rows: Float[Array, "n width"], sizes: tuple[int, ...], *, keys: Key[Array, " n"]
    ) -> Float[Array, "n R"]:
        """`errors` of n vectors, all of one size unless the ladder `pads`."""
        return jax.lax.map(lambda row: self.errors(row[0], key=row[1]), (rows, keys))

    def received_of_rows(
        self,
        rows: Float[Array, "n width"],
        sizes: tuple[int, ...],
        rungs: Int[Array, " n"],
        *,
        keys: Key[Array, " n"],
    ) -> Float[Array, "n width"]:
        """`received` of n vectors, all of one size unless the ladder `pads`.

        One after the other: side by side, all would take all the branches of a rung.
        """
        vectors = rows, rungs, keys
        return jax.lax.map(lambda row: self.received(row[0], row[1], key=row[2]), vectors)


def smaller(member: Compressor, bits: int, d: int, dtype: Any) -> Compressor:
    """`member`, or the dense message where its `bits` are no fewer."""
    return member if bits < dense_bits(d, dtype) else Identity()


def dense_bits(d: int, dtype: Any) -> int:
    """Bits of d entries."""
    return 8 * jnp.dtype(dtype).itemsize * d


def check_ratios(name: str, ratios: tuple[float, ...]) -> None:
    """Raises `ValueError` unless there are ratios, in order, above 0 and at most 1."""
    if not ratios:
        raise ValueError(f"{name} has no ratios: give at least one")
    if list(ratios) != sorted(set(ratios)) or not (ratios[0] > 0 and ratios[-1] <= 1):
        raise ValueError(
            f"{name} has the ratios {ratios}: give them in increasing order, above 0 and at most 1"
        )


def kept(ratio: float, d: int) -> int:
    """K = max(1, round(ratio·d))."""
    return max(1, round(ratio * d))
