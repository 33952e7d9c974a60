"""Derivatives of convolutions against those that JAX takes of its own convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dopt.problems._convolutions import convolution


RNG = np.random.default_rng(0)


def drawn(*shape):
    return jnp.asarray(RNG.normal(size=shape))


def customary(maps, kernel, stride):
    padding = [(kernel.shape[0] // 2,) * 2] * 2
    return jax.lax.conv_general_dilated(
        maps, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


# Windows that end at the border and before it: odd and even sides, with and without a stride.
@pytest.mark.parametrize(("side", "k", "stride"), [(5, 3, 1), (6, 3, 2), (5, 3, 2), (6, 1, 2)])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_results_and_derivatives_are_those_of_jax(monkeypatch, side, k, stride, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    maps, kernel = drawn(2, side, side, 3), drawn(k, k, 3, 4)
    out, back = jax.vjp(lambda *a: convolution(*a, stride), maps, kernel)
    expected, expected_back = jax.vjp(lambda *a: customary(*a, stride), maps, kernel)
    g = drawn(*out.shape)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(back(g), expected_back(g), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_cpu_sees_one_order_of_axes_alone(monkeypatch):
    maps, kernel = drawn(2, 6, 6, 3), drawn(3, 3, 3, 4)

    def orders(backend):
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        gradient = jax.grad(lambda *a: convolution(*a, 2).sum(), (0, 1))
        text = str(jax.make_jaxpr(gradient)(maps, kernel))
        return {line.split(")")[0] for line in text.split("dimension_numbers=")[1:]}

    assert len(orders("cpu")) == 1
    assert len(orders("gpu")) > 1
