"""Signs: one bit a coordinate, scaled by the mean magnitude or put to the vote."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from compressors._base import Compressor, Constant, Contractive, Message
from compressors._dtype import wide
from compressors._float import largest, magnitude_bits, quotient
from compressors._levels import norm_bits
from compressors.kernels.pack import pack, unpack


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Signs:
    """Which coordinates are negative, what all of them are scaled by, and the vector's dtype."""

    negative: Bool[Array, "*batch d"]
    scale: Float[Array, "*batch"]
    dtype: Any = field(metadata={"static": True})


def _expand(code: Signs) -> Float[Array, " d"]:
    return jnp.where(code.negative, -code.scale, code.scale).astype(code.dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScaledSign(Contractive):
    """C(x) = (‖x‖₁/d)·sgn(x), with sgn(±0) = ±1.

    Deterministic and biased: for methods with error feedback (Karimireddy, Rebjock, Stich, Jaggi
    2019, arXiv 1901.09847). ⟨sgn x, x⟩ = ‖x‖₁ and ‖sgn x‖² = d whatever the signs of zeros, so
    ‖C(x) − x‖² = ‖x‖² − ‖x‖₁²/d exactly. The message is d sign bits and the scale (float32;
    float64 for float64); the zero vector has scale 0, and a NaN or an infinity spreads.
    """

    name: ClassVar[str] = "ScaledSign"
    nonfinite = "spreads"

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Signs:
        """Signs and mean magnitude; the key is not used."""
        most = largest(x).astype(wide(x))
        mean = most * jnp.mean(jnp.abs(quotient(x, most)))
        return Signs(jnp.signbit(x), mean, jnp.dtype(x.dtype))

    def expand(self, code: Signs) -> Float[Array, " d"]:
        """The vector."""
        return _expand(code)

    def pack(self, code: Signs) -> Message:
        """`{"scale", "words"}`, and "dtype": an empty array that has the dtype of the vector."""
        words = pack(code.negative.astype(jnp.uint8), 1)
        return {"scale": code.scale, "words": words, "dtype": jnp.zeros(0, code.dtype)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Signs:
        """The code; the key is not used."""
        negative = unpack(message["words"], 1, d) == 1
        return Signs(negative, message["scale"], message["dtype"].dtype)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Signs of all d entries, and a scale."""
        return d + norm_bits(dtype)

    def alpha(self, d: int) -> Constant:
        """α = 1/d; at a vector x it is ‖x‖₁²/(d‖x‖²)."""
        return Constant(1 / d, "exact", "vectors with one non-zero coordinate")

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """One compression: all m messages are the same."""
        return self.expand(self.compress(x, key=key))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sign(Compressor):
    """C(x) = sgn(x) with sgn(±0) = ±1, but C(0) = 0: neither unbiased nor contractive.

    signSGD with majority vote (Bernstein, Wang, Azizzadenesheli, Anandkumar 2018, arXiv
    1802.04434; Bernstein, Zhao, Azizzadenesheli, Anandkumar 2019, arXiv 1810.05291): the server
    takes `vote` where others take `expand_sum`. The message is the d sign bits of the papers and
    one number so that nothing is hidden: 0 for the zero vector, 2 for one that holds a NaN or an
    infinity, which makes the whole vector NaN, else 1.
    """

    name: ClassVar[str] = "Sign"
    nonfinite = "spreads"

    def check(self, d: int) -> None:
        """Accepts every dimension."""

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Signs:
        """Signs, and a scale that is 1, 0 for the zero vector, or NaN; the key is not used."""
        some = jnp.any(magnitude_bits(x) > 0)
        finite = jnp.isfinite(largest(x))
        scale = jnp.where(finite, some.astype(wide(x)), jnp.nan)
        return Signs(jnp.signbit(x), scale, jnp.dtype(x.dtype))

    def expand(self, code: Signs) -> Float[Array, " d"]:
        """The vector of ±1."""
        return _expand(code)

    def vote(self, codes: Signs) -> Float[Array, " d"]:
        """The sign of the sum of the signs of a batch of codes; 0 where the vote is a tie.

        Zero vectors abstain; one vector that is not finite makes the result NaN.
        """
        ballots = jnp.where(codes.negative, -codes.scale[:, None], codes.scale[:, None])
        return jnp.sign(ballots.sum(axis=0)).astype(codes.dtype)

    def pack(self, code: Signs) -> Message:
        """`{"state", "words"}`, and "dtype": an empty array that has the dtype of the vector."""
        state = jnp.where(jnp.isnan(code.scale), 2, code.scale).astype(jnp.uint8)
        words = pack(code.negative.astype(jnp.uint8), 1)
        return {"state": state, "words": words, "dtype": jnp.zeros(0, code.dtype)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Signs:
        """The code; the key is not used."""
        empty, state = message["dtype"], message["state"]
        scale = jnp.where(state == 2, jnp.nan, state.astype(wide(empty)))
        return Signs(unpack(message["words"], 1, d) == 1, scale, empty.dtype)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Signs of all d entries, and two bits of state."""
        return d + 2

    def compress_mean(
        self, x: Float[Array, " d"], m: Int[Array, ""], *, key: PRNGKeyArray, most: int
    ) -> Float[Array, " d"]:
        """One compression: all m messages are the same."""
        return self.expand(self.compress(x, key=key))
