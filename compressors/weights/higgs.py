"""HIGGS: groups rotated until they are nearly normal, and rounded to the best grid for that.

For every group w of g inputs of a row of W [out, in]:

    1. s = ‖w‖/√g, stored as float16; the next steps use what was stored
    2. z = R·w/s with R the rotation of `rotation`: the z_j are nearly N(0, 1)
    3. code = the nearest of the n points c of a grid of least mean squared error, for each p
       neighbours of z
    4. ŵ = s·Rᵀ·c[code], of which products with activations need only R·x

The error of a matrix, t², is that of the grid whatever the weights are, and a little less for small
groups: their z has exactly the norm √g. Groups are by default as large as they can be, so that the
scales cost nearly nothing; the paper has groups of 1024, filled up with zeros where they do not
divide the row.

Source: Malinovskii, Panferov, Ilin, Guo, Richtárik, Alistarh, "Pushing the Limits of Large Language
Model Quantization via the Linearity Theorem", arXiv 2411.17525, Algorithm 1. The paper flips signs
at random first; its published models do not, and neither does this in groups of a power of two.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt32

from compressors.grids import Grid, gaussian_grid
from compressors.kernels.windows import by_rows
from compressors.weights.coding import Coding
from compressors.weights.feedback import fed_back
from compressors.weights.packed import WINDOW, PackedWeight
from compressors.weights.quantizer import Quantized, Report, WeightQuantizer, checked
from compressors.weights.rotation import Rotation, sizes
from compressors.weights.scales import ScaleDtype, check_finite, check_scales, safe


MIXED_SIGNS = 0
"""The seed of signs where nobody gives one and blocks are mixed, which needs them."""


@dataclass(frozen=True)
class HIGGS(WeightQuantizer):
    """HIGGS, without data or with the errors fed back through H (`error_feedback`).

    Attributes:
        p: weights a code, those of a grid that comes with the package unless `grid` is given.
        n: points of the grid.
        group: inputs that share a scale, one of `rotation.sizes`; None: the largest.
        signs: the seed of random signs before the rotation; None: no signs where a group is one
            Hadamard block, and those of `MIXED_SIGNS` where blocks are mixed.
        error_feedback: makes good the error of each p columns by those that follow, as GPTQ does.
        damping: of H, see `propagation`.
        unbiased: divides the stored scales by 1 − MSE. Points are means of what is rounded to
            them, so that Ŵ is W made shorter by 1 − MSE, with an error beside; in many matrices at
            once that shrinkage adds up. Without it t² is MSE/(1 − MSE).
        scale_dtype: that scales are stored in.
        grid: points of one's own.
    """

    name: ClassVar[str] = "higgs"

    p: int = 2
    n: int = 256
    group: int | None = None
    signs: int | None = None
    error_feedback: bool = False
    damping: float = 0.01
    unbiased: bool = False
    scale_dtype: ScaleDtype = "float16"
    grid: Grid | None = None

    def __post_init__(self) -> None:
        if self.points.p != self.p or self.points.n != self.n:
            raise ValueError(
                f"the grid has p = {self.points.p}, n = {self.points.n}, and the settings p = "
                f"{self.p}, n = {self.n}: give those of the grid"
            )
        if self.unbiased and self.error_feedback:
            raise ValueError(
                "unbiased scales together with error feedback, which counts on the others: give one"
            )

    @property
    def needs_hessian(self) -> bool:
        """Whether errors are fed back."""
        return self.error_feedback

    @property
    def points(self) -> Grid:
        """The grid."""
        return gaussian_grid(self.p, self.n) if self.grid is None else self.grid

    def rotation(self, inputs: int) -> Rotation:
        """Of the groups of a row.

        Raises:
            ValueError: groups that do not fit the row.
        """
        size = sizes(inputs)[0] if self.group is None else self.group
        rotation = Rotation(size, self.signs)
        rotation.check(inputs)
        mixed = rotation.blocks > 1 and self.signs is None
        return Rotation(size, MIXED_SIGNS) if mixed else rotation

    def quantize(
        self,
        W: Float[Array | np.ndarray, "out in"],
        H: Float[np.ndarray, "in in"] | None = None,
    ) -> Quantized:
        """W in few bits; H = XᵀX is used, and needed, only with error feedback."""
        weights = checked(W)
        rotation = self.rotation(weights.shape[1])
        if not self.error_feedback:
            packed, report = _packed(self, weights), Report()
        elif H is None:
            raise ValueError("HIGGS with error feedback needs H = XᵀX of the layer's inputs")
        else:
            turned, scales = _turned(self, weights)
            check_finite(scales)
            codes, report = fed_back(turned, scales, H, self.points, rotation, self.damping)
            words = Coding(self.n, self.p).pack(jnp.asarray(codes))
            packed = _stored(self, words, scales, weights.shape[1])
        check_scales(packed.scales, weights)
        return Quantized(packed, report)

    def empty(self, out: int, inputs: int) -> PackedWeight:
        """Shapes and dtypes of what `quantize` gives."""
        groups, codes = inputs // self.rotation(inputs).size, Coding(self.n, self.p).codes(inputs)

        def arrays() -> PackedWeight:
            words = jnp.zeros((out, Coding(self.n, self.p).words(codes)), jnp.uint32)
            return _stored(self, words, jnp.zeros((out, groups), self.scale_dtype), inputs)

        return jax.eval_shape(arrays)


@partial(jax.jit, static_argnums=0)
def _packed(how: HIGGS, W: Float32[Array, "out in"]) -> PackedWeight:
    def rows(W: Array) -> tuple[Array, Array]:
        turned, scales = _turned(how, W)
        z = turned / jnp.repeat(safe(scales), W.shape[1] // scales.shape[1], axis=1)
        spare = -W.shape[1] % how.p
        return how.points.nearest(jnp.pad(z, ((0, 0), (0, spare)))), scales

    codes, scales = by_rows(rows, (W,), max(1, WINDOW // W.shape[1]))
    return _stored(how, Coding(how.n, how.p).pack(codes), scales, W.shape[1])


@partial(jax.jit, static_argnums=0)
def _turned(
    how: HIGGS, W: Float32[Array, "out in"]
) -> tuple[Float32[Array, "out in"], Float[Array, "out groups"]]:
    """The rotated matrix, and the scales of its groups."""
    rotation = how.rotation(W.shape[1])
    groups = W.reshape(W.shape[0], -1, rotation.size)
    # The squares of huge weights would overflow, and those of tiny ones vanish.
    largest = safe(jnp.max(jnp.abs(groups), axis=2))
    mean = jnp.mean((groups / largest[:, :, None]) ** 2, axis=2)
    scales = (largest * jnp.sqrt(mean)).astype(how.scale_dtype)
    return rotation.apply(W), scales


def _stored(
    how: HIGGS, words: UInt32[Array, "out words"], scales: Float[Array, "out groups"], inputs: int
) -> PackedWeight:
    coding, table = Coding(how.n, how.p), jnp.asarray(how.points.points, jnp.float32)
    if how.unbiased:
        scales = (scales.astype(jnp.float32) / jnp.float32(1 - how.points.mse)).astype(scales.dtype)
    return PackedWeight(words, scales, None, table, None, coding, inputs, 0, how.rotation(inputs))
