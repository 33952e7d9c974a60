"""GPTQ: integers, the error of each input made good by the inputs that follow.

Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", ICLR 2023, arXiv 2210.17323, Algorithm 1, and its published code:

    1. Inputs that were never seen, H_ii = 0: W_:i = 0.
    2. With act_order the inputs are taken by falling H_ii.
    3. H⁻¹ = Uᵀ·U for H with damping·mean(diag H) on its diagonal; tenfold damping until that works.
    4. By blocks of 128 inputs, within a block one by one: at the first input of a group its step
       from W as it is at the start of the block; Ŵ_:i the nearest integers;
       W_:j −= (W_:i − Ŵ_:i)/U_ii·U_ij for j > i.

With static_groups the steps of all groups are found before, from neighbours in the order of W. Then
act_order leaves no trace in what is stored. Without it groups are of neighbours in the order of
rounding, and the matrix is stored in that order: `PackedWeight.order`.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int

from compressors.weights.clipping import Clipping
from compressors.weights.group_format import group_of
from compressors.weights.integers import Integers, Steps
from compressors.weights.packed import PackedWeight
from compressors.weights.propagation import BLOCK, check_hessian, inverse_factor, propagate
from compressors.weights.quantizer import Quantized, Report, WeightQuantizer, checked
from compressors.weights.round_to_nearest import RoundToNearest
from compressors.weights.scales import ScaleDtype, check_finite, check_scales


@dataclass(frozen=True)
class GPTQ(WeightQuantizer):
    """Integers as those of `RoundToNearest`, which it equals where H is a multiple of I.

    Attributes:
        bits: of a weight, from 2 to 8.
        group: inputs that share a step; None: a row.
        symmetric: whether codes have no zeros.
        act_order: whether inputs of large H_ii come first.
        static_groups: whether steps are found before, of neighbours.
        damping: what is added to the diagonal of H first, as a share of its mean.
        divisor: what the largest |w| of a symmetric group becomes; None: (2^bits − 1)/2.
        clip: a search for the range of least error, or None for the whole range.
        scale_dtype: of the steps.

    Raises:
        ValueError: bits or a divisor that `Integers` does not have, or damping outside of (0, 1].
    """

    name: ClassVar[str] = "gptq"

    bits: int = 4
    group: int | None = None
    symmetric: bool = True
    act_order: bool = False
    static_groups: bool = False
    damping: float = 0.01
    divisor: float | None = None
    clip: Clipping | None = None
    scale_dtype: ScaleDtype = "float16"

    def __post_init__(self) -> None:
        _ = self.nearest
        if not 0 < self.damping <= 1:
            raise ValueError(f"damping = {self.damping}: give a number above 0, and at most 1")

    @property
    def needs_hessian(self) -> bool:
        """Always."""
        return True

    @property
    def nearest(self) -> RoundToNearest:
        """The same format without H."""
        return RoundToNearest(
            self.bits, self.group, self.symmetric, self.divisor, self.clip, self.scale_dtype
        )

    @property
    def permuted(self) -> bool:
        """Whether the matrix is stored in another order than that of its inputs."""
        return self.act_order and not self.static_groups

    def quantize(
        self,
        W: Float[Array | np.ndarray, "out in"],
        H: Float[np.ndarray, "in in"] | None = None,
    ) -> Quantized:
        """W in few bits; H = XᵀX in any scale."""
        weights = np.array(checked(W))
        inputs = weights.shape[1]
        group = group_of(inputs, self.group)
        if H is None:
            raise ValueError("GPTQ needs H = XᵀX of the layer's inputs, found on a text")
        check_hessian(H, inputs)
        dead = np.diag(H) == 0
        weights[:, dead] = 0
        order = np.argsort(-np.diag(H), kind="stable") if self.act_order else np.arange(inputs)
        factor = inverse_factor(H[np.ix_(order, order)], self.damping)
        if self.static_groups:
            rounding = _Rounding(self.nearest.integers, weights.shape, group, order // group)
            rounding.fit(weights, 0)
            propagate(weights[:, order], factor.U, rounding.round_columns)
            rounding.codes[:, order] = rounding.codes.copy()
        else:
            rounding = _Rounding(self.nearest.integers, weights.shape, group)
            propagate(
                weights[:, order], factor.U, rounding.round_columns, at_block=rounding.at_block
            )
        packed = rounding.packed(order if self.permuted else None)
        check_scales(packed.scales, jnp.asarray(weights))
        return Quantized(packed, Report(factor.damping, factor.tries, int(dead.sum())))

    def empty(self, out: int, inputs: int) -> PackedWeight:
        """Shapes and dtypes of what `quantize` gives."""
        order = jax.ShapeDtypeStruct((inputs,), jnp.int32) if self.permuted else None
        return jax.eval_shape(
            lambda weight, order: replace(weight, order=order),
            self.nearest.empty(out, inputs),
            order,
        )


class _Rounding:
    """The codes and steps of a matrix while they come to be, in the order of rounding."""

    def __init__(
        self,
        integers: Integers,
        shape: tuple[int, int],
        group: int,
        groups: Int[np.ndarray, " in"] | None = None,
    ) -> None:
        """Of a matrix [out, in]; `groups` are those of its places, by default of neighbours."""
        self.integers, self.group = integers, group
        self.groups = np.arange(shape[1]) // group if groups is None else groups
        self.codes = np.zeros(shape, np.uint8)
        of_groups = shape[0], shape[1] // group
        self.scales = np.zeros(of_groups, jnp.dtype(integers.scale_dtype))
        self.zeros = np.full(of_groups, integers.offset, np.uint8)

    def at_block(self, W: Float64[np.ndarray, "out rest"], start: int) -> None:
        """Finds the steps of groups whose first input lies in the block that starts here."""
        first = -(-start // self.group)
        end = -(-min(start + BLOCK, start + W.shape[1]) // self.group)
        if first < end:
            self.fit(W[:, first * self.group - start : end * self.group - start], first)

    def fit(self, W: Float[np.ndarray, "out some"], first: int) -> None:
        """Finds the steps of some groups, from the place `first`."""
        groups = W.astype(np.float32).reshape(W.shape[0], -1, self.group)
        steps = _steps(self.integers, jnp.asarray(groups))
        check_finite(steps.scales)
        some = slice(first, first + groups.shape[1])
        self.scales[:, some] = steps.scales
        if steps.zeros is not None:
            self.zeros[:, some] = steps.zeros

    def round_columns(
        self, columns: Float64[np.ndarray, "out 1"], place: int
    ) -> Float32[np.ndarray, "out 1"]:
        """The nearest integers in the steps of the group, in float32 as `Integers` finds them."""
        group = self.groups[place]
        scales = self.scales[:, group].astype(np.float32)
        zeros = self.zeros[:, group].astype(np.float32)
        units = np.round(columns[:, 0].astype(np.float32) / np.where(scales == 0, 1, scales))
        codes = np.clip(units + zeros, 0, np.float32(self.integers.n - 1))
        self.codes[:, place] = codes
        return ((codes - zeros) * scales)[:, None]

    def packed(self, order: Int[np.ndarray, " in"] | None) -> PackedWeight:
        """The matrix, with the order of its places unless that is the order of its inputs."""
        integers = self.integers
        return PackedWeight(
            integers.coding.pack(jnp.asarray(self.codes)),
            jnp.asarray(self.scales),
            None if integers.symmetric else integers.coding.pack(jnp.asarray(self.zeros)),
            None,
            None if order is None else jnp.asarray(order, jnp.int32),
            integers.coding,
            self.codes.shape[1],
            integers.offset,
        )


@partial(jax.jit, static_argnums=0)
def _steps(integers: Integers, groups: Float32[Array, "out groups g"]) -> Steps:
    return integers.steps(groups)
