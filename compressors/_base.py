"""What a compressor is: a map from a vector to a message and back, and a promise.

A compressor works in two stages, so that a simulation pays only for what it reads:

    x --compress--> code --pack--> message      (what travels: packed arrays)
    x <--expand---- code <--unpack-- message

`encode = pack . compress` and `decode = expand . unpack`. A replay in virtual time passes codes;
live workers pass messages; `unpack(pack(code)) == code` bit for bit makes the two agree. Bits are
the size of the packed arrays, never a formula beside them.

Promises are types: `Unbiased` declares `omega(d)`, `AsymptoticallyUnbiased` its limit,
`Contractive` `alpha(d)`; families whose members share a coin are in `_joint.py`. A constant is
labelled exact (some vector attains it) or bound.

NaN and infinities are never hidden: they stay in their place where coordinates travel on their own
(and are lost with the coordinate where it is not sent), and make the whole vector NaN where it is
scaled by a norm. `nonfinite` says which.
"""

import abc
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors.kernels.threefry import fold_in


Code = Any
"""A pytree that stands for a compressed vector, not packed; each compressor has its own."""

Message = Any
"""A pytree of packed arrays: what travels."""

Nonfinite = Literal["in place", "spreads"]
"""What becomes of NaN and infinities."""


class Constant(NamedTuple):
    """A constant of theory with its standing.

    `exact` means that some input attains it (`note` names it); `bound` that none exceeds it;
    `estimate` that it was measured at some inputs (`note` says which), and others may exceed it.
    """

    value: float
    kind: Literal["exact", "bound", "estimate"]
    note: str


class Compressor(abc.ABC):
    """A gradient compressor: a frozen dataclass registered as a pytree without array leaves."""

    name: ClassVar[str]

    @property
    def nonfinite(self) -> Nonfinite:
        """Where a NaN or an infinity shows: in its own place, or all over the vector."""
        return "in place"

    @abc.abstractmethod
    def check(self, d: int) -> None:
        """Raises `ValueError` where the parameters do not fit the dimension `d`."""

    @abc.abstractmethod
    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Code:
        """The code of `x`: what the message says, not yet packed."""

    @abc.abstractmethod
    def expand(self, code: Code) -> Float[Array, " d"]:
        """The vector that a code stands for."""

    @abc.abstractmethod
    def pack(self, code: Code) -> Message:
        """The arrays that travel."""

    @abc.abstractmethod
    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Code:
        """The code of a message; `key` is the sender's, for indices drawn from a shared seed."""

    @abc.abstractmethod
    def payload_bits(self, d: int, dtype: Any) -> int:
        """Bits of information in the message of a `d`-vector of `dtype`, not padded."""

    def encode(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Message:
        """The message of `x`."""
        return self.pack(self.compress(x, key=key))

    def decode(self, message: Message, *, key: PRNGKeyArray, d: int) -> Float[Array, " d"]:
        """The vector that a message stands for; `key` is the one it was encoded with."""
        return self.expand(self.unpack(message, key=key, d=d))

    def nbits(self, d: int, dtype: Any, *, key: PRNGKeyArray | None = None) -> int:
        """Bits of the packed arrays that travel for a `d`-vector of `dtype`, from their shapes.

        `key` is read only by a `RandomSize` compressor, which cannot do without.
        """
        return packed_bits(self.message_shapes(d, dtype))

    def message_shapes(self, d: int, dtype: Any) -> Message:
        """The shapes and dtypes of the packed arrays; nothing is computed."""
        x = jax.ShapeDtypeStruct((d,), dtype)
        key = jax.eval_shape(lambda: jax.random.key(0))
        return jax.eval_shape(lambda x, key: self.encode(x, key=key), x, key)

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """The mean of `m` independent compressions of `x`, already expanded.

        Draw j uses `message_key(key, j)`, so the result is what a server makes of the m messages.
        `most >= m` is a static bound. Overridden where the mean is cheaper than its draws.
        """

        def add(j: Int[Array, ""], total: Float[Array, " d"]) -> Float[Array, " d"]:
            return total + self.expand(self.compress(x, key=message_key(key, j)))

        return jax.lax.fori_loop(0, m, add, jnp.zeros_like(x)) / m.astype(x.dtype)

    def expand_sum(self, codes: Code, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of the vectors of a batch of codes (leading axis P)."""
        return jnp.tensordot(weights, jax.vmap(self.expand)(codes), axes=1)


def packed_bits(message: Message) -> int:
    """Bits of the arrays of a message, or of their shapes."""
    return sum(8 * int(np.prod(a.shape)) * a.dtype.itemsize for a in jax.tree.leaves(message))


def message_key(key: PRNGKeyArray, j: Int[Array, ""] | int) -> PRNGKeyArray:
    """The key of message `j` of a job whose message stream is `key`."""
    return fold_in(key, j)


class Unbiased(Compressor):
    """E C(x) = x and E‖C(x) − x‖² ≤ omega(d)·‖x‖²."""

    @abc.abstractmethod
    def omega(self, d: int) -> Constant:
        """The variance constant ω for dimension `d`."""


class Contractive(Compressor):
    """E‖C(x) − x‖² ≤ (1 − alpha(d))·‖x‖²."""

    @abc.abstractmethod
    def alpha(self, d: int) -> Constant:
        """The contraction constant α in (0, 1] for dimension `d`."""


class AsymptoticallyUnbiased(Compressor):
    """Biased, and ‖E C(x) − x‖/‖x‖ declines as d grows for vectors x of independent normal entries.

    This is measured, at two d. Of other vectors nothing is promised: a compressor of which more is
    known says so itself.
    """

    @abc.abstractmethod
    def limit_omega(self) -> Constant:
        """The limit of E‖C(x) − x‖²/‖x‖² as d grows, for the same x."""


class RandomSize(Compressor):
    """A compressor whose messages vary in size with the key, and never with the values.

    Compiled code has arrays of one shape: `pack` fills those of the largest message. What travels
    is `trim(message)`, and `unpack` takes either.
    """

    @abc.abstractmethod
    def trim(self, message: Message, *, key: PRNGKeyArray, d: int) -> Message:
        """The arrays that travel, cut to the size drawn by `key`; on the host, not under `jit`."""

    @abc.abstractmethod
    def expected_bits(self, d: int, dtype: Any) -> float:
        """The mean of `nbits` over keys."""

    def nbits(self, d: int, dtype: Any, *, key: PRNGKeyArray | None = None) -> int:
        """Bits of the packed arrays that travel for the message drawn with `key`.

        Raises:
            ValueError: no key.
        """
        if key is None:
            raise ValueError(
                f"messages of {self} vary in size with the key: give nbits(d, dtype, key=...), or "
                "take expected_bits(d, dtype) where a mean will do"
            )
        empty = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), self.message_shapes(d, dtype))
        return packed_bits(self.trim(empty, key=key, d=d))
