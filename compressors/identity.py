"""Identity: the vector travels as it is."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Constant, Contractive, Message, Unbiased


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Identity(Unbiased, Contractive):
    """C(x) = x: dense messages, no error. Its code is the vector itself."""

    name: ClassVar[str] = "Identity"

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Float[Array, " d"]:
        """`x`; the key is not used."""
        return x

    def expand(self, code: Float[Array, " d"]) -> Float[Array, " d"]:
        """`x`."""
        return code

    def pack(self, code: Float[Array, " d"]) -> Message:
        """The message `{"values": x}`."""
        return {"values": code}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Float[Array, " d"]:
        """The values of the message."""
        return message["values"]

    def payload_bits(self, d: int, dtype: Any) -> int:
        """All d values."""
        return 8 * jnp.dtype(dtype).itemsize * d

    def omega(self, d: int) -> Constant:
        """ω = 0."""
        return Constant(0.0, "exact", "every vector: there is no error")

    def alpha(self, d: int) -> Constant:
        """α = 1."""
        return Constant(1.0, "exact", "every vector: there is no error")

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """`x`: all m messages are the same."""
        return x

    def expand_sum(
        self, codes: Float[Array, "P d"], weights: Float[Array, " P"]
    ) -> Float[Array, " d"]:
        """The weighted sum of the rows."""
        return jnp.tensordot(weights, codes, axes=1)
