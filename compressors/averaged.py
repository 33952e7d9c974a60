"""Averaging: m independent messages for one vector."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from compressors._base import Code, Compressor, Constant, Message, Nonfinite, Unbiased, message_key
from compressors._dtype import wide
from compressors._wrapped import check_size, nonfinite_of, unbiased


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Averaged(Unbiased):
    """(1/m) Σ_j C_j(x) over m independent draws of an unbiased C: ω/m, at m times the bits.

    Draw j uses `message_key(key, j)`, as in `compress_mean`. Codes and messages are those of C with
    a leading axis of m.

    Attributes:
        compressor: C, unbiased.
        m: draws, at least 1.
    """

    compressor: Compressor = field(metadata={"static": True})
    m: int = field(metadata={"static": True})
    name: ClassVar[str] = "Averaged"

    def __post_init__(self) -> None:
        unbiased(self.name, self.compressor)
        check_size(self.name, self.compressor)
        if self.m < 1:
            raise ValueError(f"the mean of m = {self.m} messages is none: give m >= 1")

    @property
    def nonfinite(self) -> Nonfinite:
        """That of C."""
        return nonfinite_of([self.compressor])

    def check(self, d: int) -> None:
        """Raises `ValueError` where C does not fit d."""
        self.compressor.check(d)

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Code:
        """The m codes."""
        return jax.vmap(lambda key: self.compressor.compress(x, key=key))(self._keys(key))

    def expand(self, code: Code) -> Float[Array, " d"]:
        """The mean of the m vectors, summed in float32 at least."""
        rows = jax.vmap(self.compressor.expand)(code)
        return rows.astype(wide(rows)).mean(axis=0).astype(rows.dtype)

    def pack(self, code: Code) -> Message:
        """The m messages."""
        return jax.vmap(self.compressor.pack)(code)

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Code:
        """The m codes."""

        def one(message: Message, key: PRNGKeyArray) -> Code:
            return self.compressor.unpack(message, key=key, d=d)

        return jax.vmap(one)(message, self._keys(key))

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Those of C, m times."""
        return self.m * self.compressor.payload_bits(d, dtype)

    def omega(self, d: int) -> Constant:
        """ω/m, as exact as that of C: the errors are independent."""
        omega = unbiased(self.name, self.compressor).omega(d)
        return omega._replace(value=omega.value / self.m)

    def _keys(self, key: PRNGKeyArray) -> Key[Array, " m"]:
        return jax.vmap(lambda j: message_key(key, j))(jnp.arange(self.m))
