"""What a compressor is: a map from a vector to a message and back, and a promise.

A compressor works in two stages, so that a simulation pays only for what it reads:

    x --compress--> code --pack--> message      (what travels: packed arrays)
    x <--expand---- code <--unpack-- message

`encode = pack . compress` and `decode = expand . unpack`. A replay in virtual time passes codes;
live workers pass messages; `unpack(pack(code)) == code` bit for bit makes the two agree. Bits are
the size of the packed arrays, never a formula beside them.

Promises are types: `Unbiased` declares `omega(d)`, `Contractive` declares `alpha(d)`. A constant is
labelled exact (some vector attains it) or bound.
"""

import abc
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray


Code = Any
"""A pytree that stands for a compressed vector, not packed; each compressor has its own."""

Message = Any
"""A pytree of packed arrays: what travels."""


class Constant(NamedTuple):
    """A constant of theory with its standing.

    `exact` means that some input attains it (`note` names it); `bound` that none exceeds it.
    """

    value: float
    kind: Literal["exact", "bound"]
    note: str


class Compressor(abc.ABC):
    """A gradient compressor: a frozen dataclass registered as a pytree without array leaves."""

    name: ClassVar[str]

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

    def nbits(self, d: int, dtype: Any) -> int:
        """Bits of the packed arrays that travel for a `d`-vector of `dtype`, from their shapes."""
        x = jax.ShapeDtypeStruct((d,), dtype)
        key = jax.eval_shape(lambda: jax.random.key(0))
        message = jax.eval_shape(lambda x, key: self.encode(x, key=key), x, key)
        return sum(8 * int(np.prod(a.shape)) * a.dtype.itemsize for a in jax.tree.leaves(message))

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


def message_key(key: PRNGKeyArray, j: Int[Array, ""] | int) -> PRNGKeyArray:
    """The key of message `j` of a job whose message stream is `key`."""
    return jax.random.fold_in(key, j)


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
