"""A weight matrix as it is stored: packed codes, scales of groups, and what turns them back.

Row o of the matrix Ŵ [out, in], with g inputs a group, is

    stored[o, j] = scales[o, j // g]·(value(code[o, j]) − zero[o, j // g])
    Ŵ[o] = turn_back(stored[o])

value(c) is the point c of a table, whose p numbers stand side by side, or the integer c − offset.
`turn_back` is the inverse of a rotation of groups, or of a permutation of the inputs, or nothing.
The products x·Ŵᵀ never turn weights back: they turn x.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, Shaped, UInt, UInt32

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
        stored = self.stored()
        if self.rotation is not None:
            stored = self.rotation.back(stored)
        if self.order is not None:
            stored = jnp.zeros_like(stored).at[:, self.order].set(stored)
        return stored.astype(dtype)

    def rows(self, places: Int[Array, " rows"]) -> "PackedWeight":
        """The matrix of some rows, all of them within bounds."""
        zeros = None if self.zeros is None else self.zeros[places]
        return replace(self, words=self.words[places], scales=self.scales[places], zeros=zeros)

    def stored(self) -> Float[Array, "out in"]:
        """The matrix before it is turned back, in float32."""
        return by_rows(self._rows, self._by_row, self._window)

    def times(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        """x·Ŵᵀ in the dtype of x; sums in float32, with a window of the matrix at a time."""
        turned = self.turned(x).reshape(-1, self.inputs).astype(jnp.float32)
        columns = jnp.pad(turned, ((0, 0), (0, self._codes * self.coding.p - self.inputs))).T
        y = by_rows(partial(self._products, columns), self._by_row, self._window).T
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

    @property
    def _codes(self) -> int:
        return self.coding.codes(self.inputs)

    def _products(
        self, columns: Float32[Array, "weights m"], words: Array, scales: Array, *zeros: Array
    ) -> Float32[Array, "rows m"]:
        """Rows of the stored matrix times vectors, a run of codes at a time."""
        total, start, p = jnp.zeros((len(words), columns.shape[1]), jnp.float32), 0, self.coding.p
        for weights in self._runs(words, scales, *zeros):
            end = start + p * weights[0].shape[1]
            for j, part in enumerate(weights):
                x = columns[start + j : end : p]
                total += jnp.matmul(part, x, precision=jax.lax.Precision.HIGHEST)
            start = end
        return total

    def _rows(self, words: Array, scales: Array, *zeros: Array) -> Float32[Array, "rows in"]:
        """Rows of the stored matrix."""
        runs = [jnp.stack(run, axis=2) for run in self._runs(words, scales, *zeros)]
        whole = jnp.concatenate([run.reshape(len(words), -1) for run in runs], axis=1)
        return whole[:, : self.inputs]

    def _runs(self, words: Array, scales: Array, *zeros: Array) -> Iterator[list[Array]]:
        """Of each run of codes the weights they stand for, by their places in the points."""
        groups, start, p = scales.shape[1], 0, self.coding.p
        moved = [self._zero_values(zero, groups) for zero in zeros]
        wide = scales.astype(jnp.float32)
        for codes in jax.lax.optimization_barrier(self.coding.parts(words, self._codes)):
            places = p * np.arange(start, start + codes.shape[1])
            weights = []
            for j in range(p):
                group_of = np.minimum((places + j) // self.group, groups - 1)
                weights.append(_scaled(self._values(codes, j), group_of, wide, *moved))
            yield weights
            start += codes.shape[1]

    def _values(self, codes: UInt[Array, "rows run"], j: int) -> Float32[Array, "rows run"]:
        """The numbers j of the points of codes."""
        if self.table is None:
            return codes.astype(jnp.float32) - jnp.float32(self.offset)
        line = self.table[:, j].astype(jnp.float32)
        return line.at[codes.astype(jnp.int32)].get(mode="promise_in_bounds")

    def _zero_values(self, zeros: Array, groups: int) -> Float32[Array, "rows groups"]:
        if zeros.dtype != jnp.uint32:
            return zeros.astype(jnp.float32)
        return unpack(zeros, self.coding.width, groups).astype(jnp.float32)


def _scaled(
    values: Float32[Array, "rows run"],
    group_of: Int[np.ndarray, " run"],
    scales: Float32[Array, "rows groups"],
    *zeros: Float32[Array, "rows groups"],
) -> Float32[Array, "rows run"]:
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
