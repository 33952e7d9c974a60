"""A weight matrix as it is stored: packed codes, scales of groups, and what turns them back.

Row o of the matrix Ŵ [out, in], with g inputs a group, is

    stored[o, j] = scales[o, j // g]·(value(code[o, j]) − zero[o, j // g])
    Ŵ[o] = turn_back(stored[o])

value(c) is the point c of a table, whose p numbers stand side by side, or the integer c − offset.
`turn_back` is the inverse of a rotation of groups, or of a permutation of the inputs, or nothing.
The products x·Ŵᵀ never turn weights back: they turn x.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Shaped, UInt32

from compressors.kernels.pack import unpack
from compressors.kernels.windows import by_rows
from compressors.weights.coding import Coding
from compressors.weights.rotation import Rotation


WINDOW = 1 << 18
"""Weights in a window: a MiB of float32."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PackedWeight:
    """A matrix [out, in] in few bits; a pytree, so that it goes through jit as an array does.

    Attributes:
        words: of the codes of each row.
        scales: of the groups of each row, any float dtype (jaxtyping has no name for that of
            powers of two, float8_e8m0fnu); their number divides the inputs.
        zeros: of the groups, in units of the values: of a float dtype, or codes packed by the
            coding of the weights with p = 1.
        table: the values of the codes; without one codes are integers.
        order: stored column j is input order[j].
        coding: of the codes.
        inputs: in.
        offset: what integer codes are shifted down by.
        rotation: of the groups of inputs.
    """

    words: UInt32[Array, "out words"]
    scales: Shaped[Array, "out groups"]
    zeros: Float[Array, "out groups"] | UInt32[Array, "out zero_words"] | None
    table: Float[Array, "n p"] | None
    order: Int32[Array, " in"] | None
    coding: Coding = field(metadata={"static": True})
    inputs: int = field(metadata={"static": True})
    offset: int = field(default=0, metadata={"static": True})
    rotation: Rotation | None = field(default=None, metadata={"static": True})

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.words.shape[0], self.inputs

    @property
    def group(self) -> int:
        """Inputs that share a scale."""
        return self.inputs // self.scales.shape[1]

    @property
    def nbits(self) -> int:
        """Bits of all arrays but the table, which a model's matrices share."""
        arrays = (self.words, self.scales, self.zeros, self.order)
        return sum(8 * a.size * a.dtype.itemsize for a in arrays if a is not None)

    def dequantize(self, dtype: Any = jnp.float32) -> Float[Array, "out in"]:
        """Ŵ, computed in float32."""
        stored = self.stored()
        if self.rotation is not None:
            stored = self.rotation.back(stored)
        if self.order is not None:
            stored = jnp.zeros_like(stored).at[:, self.order].set(stored)
        return stored.astype(dtype)

    def stored(self) -> Float[Array, "out in"]:
        """The matrix before it is turned back, in float32."""
        return by_rows(self._rows, self._by_row, self._window)

    def times(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        """x·Ŵᵀ in the dtype of x; sums in float32, with the matrix of one window at a time."""
        turned = self.turned(x).reshape(-1, self.inputs).astype(jnp.float32)

        def products(*rows: Array) -> Array:
            return jnp.matmul(self._rows(*rows), turned.T, precision=jax.lax.Precision.HIGHEST)

        y = by_rows(products, self._by_row, self._window).T
        return y.reshape(*x.shape[:-1], self.shape[0]).astype(x.dtype)

    def turned(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch in"]:
        """Activations as the stored matrix multiplies them."""
        if self.order is not None:
            x = jnp.take(x, self.order, axis=-1)
        return x if self.rotation is None else self.rotation.apply(x)

    @property
    def _window(self) -> int:
        return max(1, WINDOW // max(self.inputs, 1))

    @property
    def _by_row(self) -> tuple[Array, ...]:
        arrays = (self.words, self.scales)
        return arrays if self.zeros is None else (*arrays, self.zeros)

    def _rows(self, words: Array, scales: Array, zeros: Array | None = None) -> Array:
        """Rows of the stored matrix."""
        count, groups = scales.shape
        codes = self.coding.unpack(words, self.coding.codes(self.inputs)).astype(jnp.int32)
        if self.table is None:
            values = (codes - self.offset).astype(jnp.float32)
        else:
            values = jnp.take(self.table.astype(jnp.float32), codes, axis=0, mode="clip")
        values = values.reshape(count, -1)[:, : self.inputs].reshape(count, groups, -1)
        if zeros is not None:
            values = values - self._zero_values(zeros, groups)[:, :, None]
        return (values * scales.astype(jnp.float32)[:, :, None]).reshape(count, self.inputs)

    def _zero_values(self, zeros: Array, groups: int) -> Array:
        if zeros.dtype != jnp.uint32:
            return zeros.astype(jnp.float32)
        return unpack(zeros, self.coding.width, groups).astype(jnp.float32)
