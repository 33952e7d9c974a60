"""Lowering for an NVIDIA H200 on a machine without a GPU, with JAX 0.10 and later."""

import contextlib
import warnings

import jax

from compressors.kernels.triton import DEPRECATION


@contextlib.contextmanager
def h200():
    """Before JAX 0.11 compute capability 9.0 is assumed where there is no GPU."""
    try:
        from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh
    except ImportError:
        yield
        return
    device = AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="gpu")
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
        yield


def lower(function, *arguments):
    """The program of `function` for an H200, as text: everything up to the GPU's own compiler."""
    with h200(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=DEPRECATION)
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
