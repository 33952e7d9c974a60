"""Convolutions whose gradients are as fast as they are themselves, on a CPU too.

JAX takes both gradients of a convolution as convolutions with axes in other places. On a CPU, XLA
has a fast routine for one order of axes, [samples, rows, columns, channels] with a kernel
[rows, columns, before, after]; inside a loop (and the replay of a schedule is one) the others are
tens of times slower. The gradients are therefore put into that form. With out = maps ∗ kernel and
the derivative g by out,

* by the maps it is the convolution of g, spread out by the stride, with the kernel turned around;
* by the kernel it is that of the maps with g, where channels of the maps are samples, samples are
  channels, and g is spread out by the stride.

Elsewhere the derivatives are JAX's, for which the libraries of accelerators are made.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


Maps = Float[Array, "S side side before"]
Kernel = Float[Array, "k k before after"]
Result = Float[Array, "S less less after"]


def convolution(maps: Maps, kernel: Kernel, stride: int) -> Result:
    """Of square maps with a kernel of odd side k, behind a border of (k − 1)/2 zeros."""
    by_hand = jax.default_backend() == "cpu"
    return (_by_hand if by_hand else _plain)(maps, kernel, stride)


def _plain(maps: Maps, kernel: Kernel, stride: int) -> Result:
    border = kernel.shape[0] // 2
    return _convolved(maps, kernel, (border, border), stride=stride)


def _convolved(
    maps: Array,
    kernel: Array,
    border: tuple[int, int],
    *,
    stride: int = 1,
    maps_spread: int = 1,
    kernel_spread: int = 1,
) -> Array:
    """In the order of axes that is fast; the border is that before and behind."""
    return jax.lax.conv_general_dilated(
        maps,
        kernel,
        (stride, stride),
        [border, border],
        lhs_dilation=(maps_spread, maps_spread),
        rhs_dilation=(kernel_spread, kernel_spread),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _by_hand(maps: Maps, kernel: Kernel, stride: int) -> Result:
    return _plain(maps, kernel, stride)


def _forward(maps: Maps, kernel: Kernel, stride: int) -> tuple[Result, tuple[Maps, Kernel]]:
    return _plain(maps, kernel, stride), (maps, kernel)


def _backward(stride: int, seen: tuple[Maps, Kernel], g: Result) -> tuple[Maps, Kernel]:
    maps, kernel = seen
    k, border = kernel.shape[0], kernel.shape[0] // 2
    # Rows of the bordered maps beyond the last window have no part in the result.
    unseen = maps.shape[1] + 2 * border - k - (g.shape[1] - 1) * stride
    before = k - 1 - border
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    by_maps = _convolved(g, turned, (before, before + unseen), maps_spread=stride)
    by_kernel = _convolved(
        maps.transpose(3, 1, 2, 0),
        g.transpose(1, 2, 0, 3),
        (border, border - unseen),
        kernel_spread=stride,
    )
    return by_maps, by_kernel.transpose(1, 2, 0, 3)


_by_hand.defvjp(_forward, _backward)
