"""Products against numpy in float64, the kernel against the plain form, refusals."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lowering import lower

from compressors.kernels.dequantize_matmul import dequantize_matmul
from compressors.kernels.pack import pack


class Case(NamedTuple):
    """Sizes of a product, and what goes with the codes."""

    m: int
    k: int
    out: int
    group: int
    bits: int
    dtype: object
    zeros: bool = False
    table: bool = False


SERVED = [
    Case(1, 512, 70, 64, 4, jnp.float32, zeros=True),
    Case(16, 512, 64, 512, 2, jnp.bfloat16),
    Case(3, 256, 33, 32, 3, jnp.float16, zeros=True),
    Case(5, 128, 32, 32, 8, jnp.bfloat16, zeros=True),
    Case(2, 256, 32, 128, 4, jnp.bfloat16, table=True),
    Case(1, 256, 33, 64, 3, jnp.float32, zeros=True, table=True),
]
ODD = [
    Case(1, 37, 5, 37, 3, jnp.float32, zeros=True),
    Case(17, 60, 7, 12, 4, jnp.float32),
    Case(2, 33, 3, 11, 2, jnp.bfloat16, table=True),
]


def product(case, seed=0):
    """The arguments, and the result in float64."""
    rng = np.random.default_rng(seed)
    m, k, out, group, bits, dtype, with_zeros, with_table = case
    codes = rng.integers(0, 2**bits, (out, k), dtype=np.uint8)
    scales = jnp.asarray(rng.uniform(0.5, 2, (out, k // group)), jnp.float32)
    zeros = jnp.asarray(rng.uniform(0, 2**bits, scales.shape), jnp.float32) if with_zeros else None
    table = jnp.asarray(rng.normal(size=2**bits), jnp.float32) if with_table else None
    x = jnp.asarray(rng.normal(size=(m, k)), jnp.float32).astype(dtype)
    values = np.asarray(table.astype(dtype), np.float64)[codes] if with_table else codes
    values = values.reshape(out, -1, group).astype(np.float64)
    if with_zeros:
        values = values - np.asarray(zeros, np.float64)[:, :, None]
    weights = (values * np.asarray(scales, np.float64)[:, :, None]).reshape(out, k)
    expected = np.asarray(x, np.float64) @ weights.T
    size = np.abs(np.asarray(x, np.float64)) @ np.abs(weights).T
    return (x, pack(jnp.asarray(codes), bits), scales, zeros, table), expected, size


def run(case, arguments, backend):
    def multiply(x, words, scales, zeros, table):
        return dequantize_matmul(
            x, words, scales, bits=case.bits, zeros=zeros, table=table, backend=backend
        )

    return multiply, arguments


def check(got, case, expected, size):
    assert got.dtype == case.dtype
    assert got.shape == (case.m, case.out)
    unit = {jnp.float32: 2.0**-24, jnp.bfloat16: 2.0**-8, jnp.float16: 2.0**-11}[case.dtype]
    error = np.abs(np.asarray(got, np.float64) - expected)
    # A rounding of the result, and some of float32 on the way.
    assert (error <= unit * np.abs(expected) + 64 * 2.0**-24 * size).all()


@pytest.mark.parametrize("case", [*SERVED, *ODD])
def test_the_plain_form_is_the_product(case):
    arguments, expected, size = product(case)
    multiply, arguments = run(case, arguments, "xla")
    check(jax.jit(multiply)(*arguments), case, expected, size)


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("case", SERVED)
def test_the_kernel_is_the_product_and_lowers_for_an_h200(case, x64):
    with jax.enable_x64(x64):
        arguments, expected, size = product(case)
        multiply, arguments = run(case, arguments, "interpret")
        check(jax.jit(multiply)(*arguments), case, expected, size)
        multiply, arguments = run(case, arguments, "triton")
        assert "dequantize_matmul" in lower(multiply, *arguments)


def test_many_windows_are_one():
    case = Case(2, 4096, 131, 64, 4, jnp.float32, zeros=True)
    arguments, expected, size = product(case)
    multiply, arguments = run(case, arguments, "xla")
    check(jax.jit(multiply)(*arguments), case, expected, size)


def test_the_matrix_is_never_there_as_a_whole():
    case = Case(1, 4096, 2048, 64, 4, jnp.float32, zeros=True)
    arguments, _, _ = product(case)
    multiply, arguments = run(case, arguments, "xla")
    memory = jax.jit(multiply).lower(*arguments).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4096 * 2048 * 4 / 4


def test_any_parts_give_the_same():
    case = Case(1, 4096, 2, 128, 4, jnp.float32)
    arguments, expected, size = product(case)
    multiply, arguments = run(case, arguments, "interpret")
    check(jax.jit(multiply)(*arguments), case, expected, size)


def test_narrow_scales():
    case = SERVED[0]
    (x, words, scales, zeros, _), *_ = product(case)
    scales, zeros = scales.astype(jnp.float16), zeros.astype(jnp.float16)
    whole = scales.astype(jnp.float32), zeros.astype(jnp.float32)
    expected = dequantize_matmul(x, words, whole[0], bits=4, zeros=whole[1])
    for backend in ("xla", "interpret"):
        got = dequantize_matmul(x, words, scales, bits=4, zeros=zeros, backend=backend)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("m", "k", "out"), [(0, 32, 3), (2, 32, 0)])
def test_nothing_stays_nothing(m, k, out):
    words, scales = jnp.zeros((out, k // 8), jnp.uint32), jnp.ones((out, 1))
    assert dequantize_matmul(jnp.ones((m, k)), words, scales, bits=4).shape == (m, out)


WORDS, SCALES = jnp.zeros((3, 8), jnp.uint32), jnp.ones((3, 2), jnp.float32)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bits": 9}, "weights of 9 bits are not served: give 1 to 8"),
        ({"bits": 3}, "rows of 64 codes of 3 bits fill 6 words, not 8: give the bits"),
        ({"scales": jnp.ones((3, 5))}, "5 groups do not divide rows of 64 weights: give scales"),
        ({"table": jnp.ones(8)}, "a table of 8 points does not serve codes of 4 bits: give 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, says):
    given = {"words": WORDS, "scales": SCALES, "bits": 4} | changes
    with pytest.raises(ValueError, match=says):
        dequantize_matmul(jnp.ones((1, 64)), **given)


def test_the_kernel_refuses_what_it_does_not_serve():
    multiply = partial(dequantize_matmul, words=WORDS, scales=SCALES, bits=4, backend="interpret")
    with pytest.raises(NotImplementedError, match=r"takes up to 16 rows of bfloat16, .* not 17"):
        multiply(jnp.ones((17, 64), jnp.float32))
    with pytest.raises(NotImplementedError, match="not 1 of float64"):
        multiply(jnp.ones((1, 64)))
    with pytest.raises(NotImplementedError, match=r"groups of multiples of 16 weights, .* of 8"):
        multiply(jnp.ones((1, 64), jnp.float32), scales=jnp.ones((3, 8)))
