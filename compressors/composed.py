"""Composition: the coordinates that one compressor keeps, with their values compressed by another.

Both classes send the message of `select` with the message of `quantize` in place of its values.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors._base import Code, Compressor, Constant, Contractive, Message, Nonfinite, Unbiased
from compressors._sparse import Sparse
from compressors._wrapped import check_size, contractive, nonfinite_of, unbiased


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Kept:
    """K distinct indices below d, and the code of the K values there."""

    indices: Int[Array, "*batch K"]
    values: Code
    d: int = field(metadata={"static": True})


@dataclass(frozen=True)
class _Composition(Compressor):
    """Both stages; the promise is that of a subclass. They draw from different keys."""

    select: Compressor = field(metadata={"static": True})
    quantize: Compressor = field(metadata={"static": True})

    def __post_init__(self) -> None:
        for part in (self.select, self.quantize):
            check_size(self.name, part)

    @property
    def nonfinite(self) -> Nonfinite:
        """That of the stages; "spreads" is among the kept coordinates."""
        return nonfinite_of((self.select, self.quantize))

    def check(self, d: int) -> None:
        """Raises `ValueError` where d does not fit `select`, or K `quantize`."""
        self.quantize.check(self.kept(d))

    def kept(self, d: int) -> int:
        """K: how many of d coordinates are kept.

        Raises:
            TypeError: the codes of `select` are not sparse vectors.
        """
        self.select.check(d)
        x = jax.ShapeDtypeStruct((d,), jnp.float32)
        key = jax.eval_shape(lambda: jax.random.key(0))
        return jax.eval_shape(lambda x, key: self._sparse(x, key).values, x, key).shape[0]

    def _sparse(self, x: Float[Array, " d"], key: PRNGKeyArray) -> Sparse:
        code = self.select.compress(x, key=key)
        if not isinstance(code, Sparse):
            raise TypeError(
                f"{self.name} compresses the values that {self.select} keeps, and the codes of "
                "that are no sparse vectors: give one that keeps K coordinates, such as RandK"
            )
        return code

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Kept:
        """The kept indices, and the code of the values there."""
        self.check(x.shape[0])
        first, second = _keys(key)
        sparse = self._sparse(x, first)
        values = self.quantize.compress(sparse.values, key=second)
        return Kept(sparse.indices, values, x.shape[0])

    def expand(self, code: Kept) -> Float[Array, " d"]:
        """The dense vector."""
        return Sparse(code.indices, self.quantize.expand(code.values), code.d).dense()

    def pack(self, code: Kept) -> Message:
        """The message of `select`, its "values" those of `quantize`."""
        unsent = jnp.zeros(code.indices.shape, jnp.float32)
        message = self.select.pack(Sparse(code.indices, unsent, code.d))
        return message | {"values": self.quantize.pack(code.values)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Kept:
        """The code, by both stages with the keys of the sender."""
        first, second = _keys(key)
        K = self.kept(d)
        unsent = message | {"values": jnp.zeros(K, jnp.float32)}
        indices = self.select.unpack(unsent, key=first, d=d).indices
        return Kept(indices, self.quantize.unpack(message["values"], key=second, d=K), d)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """Those of `select`, with K values of `quantize` for K numbers."""
        K = self.kept(d)
        dense = 8 * jnp.dtype(dtype).itemsize * K
        return self.select.payload_bits(d, dtype) - dense + self.quantize.payload_bits(K, dtype)

    def expand_sum(self, codes: Kept, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of a batch of codes, by one scatter-add."""
        values = jax.vmap(self.quantize.expand)(codes.values)
        return Sparse(codes.indices, values, codes.d).weighted_sum(weights)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Composed(_Composition, Unbiased):
    """C(x) = Q(T(x)): T keeps K coordinates, Q compresses their values; T and Q are unbiased.

    E‖QTx − x‖² = E‖QTx − Tx‖² + E‖Tx − x‖² ≤ ω_Q(1 + ω_T)‖x‖² + ω_T‖x‖², so that
    1 + ω = (1 + ω_T(d))·(1 + ω_Q(K)). NaN and infinities are lost where they are not kept, and
    spread over the kept coordinates where they are and Q is scaled by a norm.

    Attributes:
        select: T, with codes of type `Sparse`, such as `RandK`.
        quantize: Q, on vectors of R^K, such as `NaturalCompression`.
    """

    name: ClassVar[str] = "Composed"

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in (self.select, self.quantize):
            unbiased(self.name, part)

    def omega(self, d: int) -> Constant:
        """(1 + ω_T)(1 + ω_Q) − 1."""
        first = unbiased(self.name, self.select).omega(d)
        second = unbiased(self.name, self.quantize).omega(self.kept(d))
        value = (1 + first.value) * (1 + second.value) - 1
        if second.value == 0:
            return Constant(value, first.kind, first.note)
        return Constant(value, "bound", "the worst kept values, whatever is kept")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ContractiveComposed(_Composition, Contractive):
    """C(x) = Q(T(x)): T keeps K coordinates *as they are*, Q compresses their values.

    The error of Q lies in the kept coordinates and that of T in the others, so that
    E‖QTx − x‖² = E‖QTx − Tx‖² + ‖Tx − x‖², and ‖Tx‖² = ‖x‖² − ‖Tx − x‖². Where Q is contractive,
    α = α_T(d)·α_Q(K); where it is unbiased, α = α_T·(1 − ω_Q), for ω_Q < 1. A T that scales what it
    keeps has none of this: the battery finds it.

    Attributes:
        select: T, with codes of type `Sparse`, such as `TopK`.
        quantize: Q, on vectors of R^K.
    """

    name: ClassVar[str] = "ContractiveComposed"

    def __post_init__(self) -> None:
        super().__post_init__()
        contractive(self.name, self.select)
        if not isinstance(self.quantize, Unbiased | Contractive):
            contractive(self.name, self.quantize)

    def check(self, d: int) -> None:
        """Raises `ValueError` where a stage refuses its dimension, or ω_Q ≥ 1 leaves no α."""
        super().check(d)
        if self._share(d) <= 0:
            raise ValueError(
                f"{self} at d = {d} does not contract: the omega of {self.quantize} must be "
                f"below 1, and is {1 - self._share(d):g} for the {self.kept(d)} kept values; give "
                "a finer one, or Scaled(...) of it"
            )

    def alpha(self, d: int) -> Constant:
        """α_T·α_Q, or α_T·(1 − ω_Q)."""
        self.check(d)
        first, share = contractive(self.name, self.select).alpha(d), self._share(d)
        if share == 1:
            return first
        return Constant(first.value * share, "bound", "the worst kept values of the worst vector")

    def _share(self, d: int) -> float:
        """What Q leaves of ‖Tx‖²."""
        K = self.kept(d)
        if isinstance(self.quantize, Contractive):
            return self.quantize.alpha(K).value
        return 1 - unbiased(self.name, self.quantize).omega(K).value


def _keys(key: PRNGKeyArray) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """Those of the two stages."""
    return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
