"""What tells two sets of parameters apart."""

import hashlib

import jax
import numpy as np

from dopt.models.parameters import Params


def fingerprint(params: Params) -> str:
    """The SHA-256 of all parameters: their places, shapes, dtypes, and every bit."""
    leaves, structure = jax.tree.flatten(params)
    digest = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.view(np.uint8).data)
    return digest.hexdigest()
