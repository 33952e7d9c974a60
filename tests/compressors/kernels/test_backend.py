"""The chooser, with an operation made for the purpose, and the lowering that tests rely on."""

import sys

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas
from lowering import lower

from compressors.kernels import triton
from compressors.kernels.backend import Form, Operation, chosen, preferred, run


def odd_only(x):
    if x % 2 == 0:
        raise NotImplementedError("this kernel doubles odd numbers only")


DOUBLE = Operation(
    "double",
    "twice a number",
    {
        "xla": Form(lambda x: ("xla", 2 * x)),
        "triton": Form(lambda x: ("triton", 2 * x), odd_only),
        "interpret": Form(lambda x: ("interpret", 2 * x), odd_only),
    },
)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


@pytest.mark.parametrize("x", [2, 3])
def test_on_a_cpu_auto_is_xla(x):
    assert chosen(DOUBLE, "auto", x) == preferred(DOUBLE) == "xla"
    assert run(DOUBLE, "auto", x) == ("xla", 2 * x)


def test_on_a_gpu_auto_is_the_kernel_where_it_serves(gpu):
    assert preferred(DOUBLE) == "triton"
    assert run(DOUBLE, "auto", 3) == ("triton", 6)
    assert run(DOUBLE, "auto", 2) == ("xla", 4)
    assert chosen(DOUBLE, "auto", 2) == "xla"


def test_without_a_triton_lowering_auto_goes_on(gpu, monkeypatch):
    # An import of `None` in `sys.modules` fails, as that of a module that is not there.
    monkeypatch.setitem(sys.modules, "jax.experimental.pallas.triton", None)
    monkeypatch.delattr(pallas, "triton", raising=False)
    monkeypatch.setattr(triton, "lowering", triton.lowering.__wrapped__)
    assert preferred(DOUBLE) == chosen(DOUBLE, "auto", 3) == "xla"
    with pytest.raises(NotImplementedError, match=r"has no Triton lowering of Pallas .*: take"):
        chosen(DOUBLE, "triton", 3)


def test_a_backend_that_is_named_does_not_fall_back():
    assert run(DOUBLE, "interpret", 3) == ("interpret", 6)
    with pytest.raises(NotImplementedError, match="odd numbers only"):
        run(DOUBLE, "triton", 2)
    with pytest.raises(
        NotImplementedError, match="double has no form for 'mosaic': it has xla, triton, interpret"
    ):
        run(DOUBLE, "mosaic", 3)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="no backend 'cuda': give one of auto, xla, triton"):
        chosen.__wrapped__(DOUBLE, "cuda", 3)


def increment(function, *, interpret=False):
    """A kernel over one block of 256 entries, of which 200 exist."""

    def kernel(x_ref, out_ref):
        index = triton.program(0) * 256 + jnp.arange(256, dtype=jnp.int32)
        mask = index < 200
        triton.store(out_ref, index, function(triton.load(x_ref, index, mask)), mask)

    def apply(x):
        out = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return triton.call(kernel, x, out=out, grid=(1,), interpret=interpret, name="increment")

    return apply


@pytest.mark.parametrize("x64", [True, False])
def test_a_kernel_is_interpreted_and_lowers(x64):
    with jax.enable_x64(x64):
        x = jnp.arange(200, dtype=jnp.uint32)
        add = increment(lambda v: v + jnp.uint32(1), interpret=True)
        assert (add(x) == x + jnp.uint32(1)).all()
        assert "triton" in lower(increment(lambda v: v + jnp.uint32(1)), x)


def test_what_triton_does_not_know_does_not_lower():
    with pytest.raises(NotImplementedError, match="sort"):
        lower(increment(jnp.sort), jnp.zeros(200, jnp.float32))


def test_on_a_cpu_a_compiled_kernel_is_refused():
    with pytest.raises(ValueError, match="Only interpret mode is supported on CPU"):
        jax.jit(increment(lambda v: v + jnp.uint32(1)))(jnp.zeros(200, jnp.uint32))


def test_arrays_beyond_32_bit_indices_are_refused():
    huge = jax.ShapeDtypeStruct((2**31,), jnp.uint8)
    with pytest.raises(NotImplementedError, match="indexes with 32 bits: arrays of up to 2147483"):
        triton.check_sizes("pack", huge)
    triton.check_sizes("pack", jax.ShapeDtypeStruct((2**31 - 1,), jnp.uint8))
