"""Formats that round each weight by itself, with a scale, and perhaps a zero, a group of inputs."""

import abc
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Shaped, UInt

from compressors.kernels.windows import by_rows
from compressors.weights.coding import Coding
from compressors.weights.packed import WINDOW, PackedWeight
from compressors.weights.quantizer import Quantized, Report, WeightQuantizer, checked
from compressors.weights.scales import check_scales


Zeros = Literal["none", "codes", "floats"]


class Groups(NamedTuple):
    """Groups of some rows as they are stored, before codes are packed."""

    codes: UInt[Array, "rows groups g"]
    scales: Shaped[Array, "rows groups"]
    zeros: Float[Array, "rows groups"] | UInt[Array, "rows groups"] | None = None


class GroupFormat(WeightQuantizer):
    """A format whose groups are fitted one by one, without H.

    Abstract: `coding`, `group`, `scale_dtype` and `fit`.
    """

    @property
    @abc.abstractmethod
    def coding(self) -> Coding:
        """Of the weights, p = 1."""

    @property
    @abc.abstractmethod
    def group(self) -> int | None:
        """Inputs that share a scale; None: a row."""

    @property
    @abc.abstractmethod
    def scale_dtype(self) -> str:
        """The dtype of scales, and of zeros that are floats."""

    @property
    def zeros(self) -> Zeros:
        """What groups have beside their scales: nothing, codes that are packed, or floats."""
        return "none"

    @property
    def table(self) -> Float32[np.ndarray, "n 1"] | None:
        """The values of the codes, before scales; None: integers."""
        return None

    @property
    def offset(self) -> int:
        """What integer codes are shifted down by."""
        return 0

    @abc.abstractmethod
    def fit(self, groups: Float32[Array, "rows groups g"]) -> Groups:
        """Groups rounded; jitted by the caller."""

    def quantize(
        self,
        W: Float[Array | np.ndarray, "out in"],
        H: Float[np.ndarray, "in in"] | None = None,
    ) -> Quantized:
        """W in few bits; H is not used."""
        weights = checked(W)
        group_of(weights.shape[1], self.group)
        packed = _packed(self, weights)
        check_scales(packed.scales, weights)
        return Quantized(packed, Report())

    def empty(self, out: int, inputs: int) -> PackedWeight:
        """Shapes and dtypes of what `quantize` gives."""
        groups = inputs // group_of(inputs, self.group)

        def arrays() -> PackedWeight:
            scales = jnp.zeros((out, groups), self.scale_dtype)
            of_zeros = jnp.zeros((out, self.coding.words(groups)), jnp.uint32)
            zeros = {"none": None, "codes": of_zeros, "floats": scales}[self.zeros]
            words = jnp.zeros((out, self.coding.words(inputs)), jnp.uint32)
            return _stored(self, words, scales, zeros, inputs)

        return jax.eval_shape(arrays)


def group_of(inputs: int, group: int | None) -> int:
    """The inputs of a group: all of them where `group` is None.

    Raises:
        ValueError: a matrix without inputs, or a group that does not divide them.
    """
    if inputs < 1:
        raise ValueError(f"a matrix of {inputs} inputs: give 1 or more")
    if group is None:
        return inputs
    if group < 1 or inputs % group:
        sizes = [size for size in range(1, inputs + 1) if inputs % size == 0]
        near = sorted(sorted(sizes, key=lambda size: abs(size - group))[:4])
        raise ValueError(
            f"groups of {group} do not divide {inputs} inputs: give one of "
            f"{', '.join(map(str, near))}, or None for a row"
        )
    return group


@partial(jax.jit, static_argnums=0)
def _packed(how: GroupFormat, W: Float32[Array, "out in"]) -> PackedWeight:
    inputs = W.shape[1]
    g = group_of(inputs, how.group)

    def rows(W: Array) -> tuple[Array, Array, Array | None]:
        codes, scales, zeros = how.fit(W.reshape(W.shape[0], inputs // g, g))
        if zeros is not None and how.zeros == "codes":
            zeros = how.coding.pack(zeros)
        return how.coding.pack(codes.reshape(W.shape)), scales, zeros

    words, scales, zeros = by_rows(rows, (W,), max(1, WINDOW // inputs))
    return _stored(how, words, scales, zeros, inputs)


def _stored(
    how: GroupFormat, words: Array, scales: Array, zeros: Array | None, inputs: int
) -> PackedWeight:
    table = None if how.table is None else jnp.asarray(how.table)
    return PackedWeight(words, scales, zeros, table, None, how.coding, inputs, how.offset)
