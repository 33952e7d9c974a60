"""A weight matrix as it is stored: packed codes, scales of groups, and what turns them back.

Row o of the matrix Ŵ [out, in], with g inputs a group, is

    stored[o, j] = scales[o, j // g]·(value(code[o, j]) − zero[o, j // g])
    Ŵ[o] = turn_back(stored[o])

value(c) is the point c of a table, whose p numbers stand side by side, or the integer c − offset.
`turn_back` is the inverse of a rotation of groups, or of a permutation of the inputs, or nothing.
The products x·Ŵᵀ never turn weights back: they turn x.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, Shaped, UInt, UInt32

from compressors.kernels.backend import Backend, chosen
from compressors.kernels.dequantize_matmul import DEQUANTIZE_MATMUL, dequantize_matmul
from compressors.kernels.dequantize_matmul.operation import MOST_BITS
from compressors.kernels.pack import unpack
from compressors.kernels.windows import by_rows
from compressors.weights.coding import Coding
from compressors.weights.rotation import Rotation


WINDOW = 1 << 20
"""Weights in a window: 4 MiB of float32. Smaller ones would be more, each with its own overhead."""


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
        return _dequantized(self, jnp.dtype(dtype))

    def rows(self, places: Int[Array, " rows"]) -> "PackedWeight":
        """The matrix of some rows, all of them within bounds."""
        zeros = None if self.zeros is None else self.zeros[places]
        return replace(self, words=self.words[places], scales=self.scales[places], zeros=zeros)

    def stored(self) -> Float[Array, "out in"]:
        """The matrix before it is turned back, in float32."""
        return by_rows(self._rows, self._by_row, self._window)

    def times(
        self, x: Float[Array, "*batch in"], *, backend: Backend = "auto"
    ) -> Float[Array, "*batch out"]:
        """x·Ŵᵀ in the dtype of x, with sums in float32.

        On a GPU up to 16 vectors are multiplied by the kernel `dequantize_matmul`, where that
        serves: codes of one weight with 2^b values, b up to 8. Elsewhere, and by "xla", a window of
        the matrix at a time is dequantized.

        Raises:
            NotImplementedError: a backend other than "auto" and "xla" does not serve this call.
        """
        served = backend != "xla" and self._fits_kernel
        if not served and backend not in ("auto", "xla"):
            raise NotImplementedError(
                f"the kernel of packed products takes codes of one weight with 2, 4, … or 256 "
                f"values, not of {self.coding.p} with {self.coding.n}: take the backend 'xla'"
            )
        return _times(self, x, backend if served else "xla")

    def turned(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch in"]:
        """Activations as the stored matrix multiplies them."""
        if self.order is not None:
            x = jnp.take(x, self.order, axis=-1)
        return x if self.rotation is None else self.rotation.apply(x)

    @property
    def _fits_kernel(self) -> bool:
        n, p = self.coding.n, self.coding.p
        floats = jnp.issubdtype(self.scales.dtype, jnp.floating) and self.scales.dtype.itemsize > 1
        return p == 1 and n & (n - 1) == 0 and n <= 1 << MOST_BITS and floats

    @property
    def _window(self) -> int:
        return max(1, WINDOW // max(self.inputs, 1))

    @property
    def _by_row(self) -> tuple[Array, ...]:
        arrays = (self.words, self.scales)
        return arrays if self.zeros is None else (*arrays, self.zeros)

    @property
    def _codes(self) -> int:
        return self.coding.codes(self.inputs)

    def _products(
        self, columns: Float32[Array, "weights m"], words: Array, scales: Array, *zeros: Array
    ) -> Float32[Array, "rows m"]:
        """Rows of the stored matrix times vectors."""
        parts, p = self._weights(words, scales, *zeros), self.coding.p
        products = [
            jnp.matmul(part, columns[j::p], precision=jax.lax.Precision.HIGHEST)
            for j, part in enumerate(parts)
        ]
        return reduce(jnp.add, products)

    def _rows(self, words: Array, scales: Array, *zeros: Array) -> Float32[Array, "rows in"]:
        """Rows of the stored matrix."""
        whole = jnp.stack(self._weights(words, scales, *zeros), axis=2).reshape(len(words), -1)
        return whole[:, : self.inputs]

    def _weights(self, words: Array, scales: Array, *zeros: Array) -> list[Array]:
        """The weights that codes stand for, by their places in the points; each [rows, codes]."""
        groups, p = scales.shape[1], self.coding.p
        moved = [self._zero_values(zero, groups) for zero in zeros]
        wide = scales.astype(jnp.float32)
        codes = self.coding.unpack(words, self._codes)
        weights = []
        for j in range(p):
            group_of = np.minimum(np.arange(j, p * codes.shape[1], p) // self.group, groups - 1)
            weights.append(_scaled(self._values(codes, j), group_of, wide, *moved))
        return weights

    def _values(self, codes: UInt[Array, "rows codes"], j: int) -> Float32[Array, "rows codes"]:
        """The numbers j of the points of codes."""
        if self.table is None:
            return codes.astype(jnp.float32) - jnp.float32(self.offset)
        line = self.table[:, j].astype(jnp.float32)
        return line.at[codes.astype(jnp.int32)].get(mode="promise_in_bounds")

    def _zero_values(self, zeros: Array, groups: int) -> Float32[Array, "rows groups"]:
        if zeros.dtype != jnp.uint32:
            return zeros.astype(jnp.float32)
        return unpack(zeros, self.coding.width, groups).astype(jnp.float32)


@partial(jax.jit, static_argnames="dtype")
def _dequantized(weight: PackedWeight, dtype: Any) -> Float[Array, "out in"]:
    stored = weight.stored()
    if weight.rotation is not None:
        stored = weight.rotation.back(stored)
    if weight.order is not None:
        stored = jnp.zeros_like(stored).at[:, weight.order].set(stored)
    return stored.astype(dtype)


@partial(jax.jit, static_argnames="backend")
def _times(
    weight: PackedWeight, x: Float[Array, "*batch in"], backend: Backend
) -> Float[Array, "*batch out"]:
    turned = weight.turned(x).reshape(-1, weight.inputs)
    y = None if backend == "xla" else _by_kernel(weight, turned, backend)
    if y is None:
        y = _by_windows(weight, turned)
    return y.reshape(*x.shape[:-1], weight.shape[0])


def _by_windows(weight: PackedWeight, turned: Float[Array, "m in"]) -> Float[Array, "m out"]:
    spare = weight._codes * weight.coding.p - weight.inputs
    columns = jnp.pad(turned.astype(jnp.float32), ((0, 0), (0, spare))).T
    products = by_rows(partial(weight._products, columns), weight._by_row, weight._window)
    return products.T.astype(turned.dtype)


def _by_kernel(
    weight: PackedWeight, turned: Float[Array, "m in"], backend: Backend
) -> Float[Array, "m out"] | None:
    """The products by the kernel; None where "auto" would not take it."""
    groups, table, zeros = weight.scales.shape, None, None
    if weight.zeros is not None:
        zeros = weight._zero_values(weight.zeros, groups[1])
    if weight.table is not None:
        table = weight.table[:, 0]
    elif weight.offset:
        moved = jnp.float32(weight.offset)
        zeros = jnp.full(groups, moved) if zeros is None else zeros + moved
    given, bits = (turned, weight.words, weight.scales, zeros, table), weight.coding.width
    if backend == "auto" and chosen(DEQUANTIZE_MATMUL, "auto", *given, bits=bits) == "xla":
        return None
    return dequantize_matmul(
        turned, weight.words, weight.scales, bits=bits, zeros=zeros, table=table, backend=backend
    )


def _scaled(
    values: Float32[Array, "rows codes"],
    group_of: Int[np.ndarray, " codes"],
    scales: Float32[Array, "rows groups"],
    *zeros: Float32[Array, "rows groups"],
) -> Float32[Array, "rows codes"]:
    """scales·(values − zeros), each of the group of the value."""
    run = values.shape[1]
    chunk = math.gcd(run, *(np.flatnonzero(np.diff(group_of)) + 1).tolist())
    groups = group_of[::chunk]

    def spread(numbers: Array) -> Array:
        # Without a barrier XLA would compute a group's number anew for each of its weights.
        return jax.lax.optimization_barrier(numbers[:, groups])[:, :, None]

    chunks = values.reshape(values.shape[0], -1, chunk)
    for zero in zeros:
        chunks = chunks - spread(zero)
    return (chunks * spread(scales)).reshape(values.shape)


ARRAYS = tuple(part.name for part in fields(PackedWeight) if not part.metadata)
STATIC = tuple(part.name for part in fields(PackedWeight) if part.metadata)


def _flat(weight: PackedWeight) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
    arrays = [(jax.tree_util.GetAttrKey(name), getattr(weight, name)) for name in ARRAYS]
    return arrays, tuple(getattr(weight, name) for name in STATIC)


def _of(static: tuple[Any, ...], arrays: Iterable[Any]) -> PackedWeight:
    """Unchecked: leaves may be shapes, or anything that a function of trees makes of arrays."""
    weight = object.__new__(PackedWeight)
    weight.__dict__.update(zip((*ARRAYS, *STATIC), (*arrays, *static), strict=True))
    return weight


jax.tree_util.register_pytree_with_keys(PackedWeight, _flat, _of)
