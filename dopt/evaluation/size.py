"""What the parameters of a model take up."""

import math

import jax

from compressors.weights import PackedWeight
from dopt.models.parameters import Model, Params, leaf, linear_paths


def resident_bytes(params: Params) -> int:
    """Bytes of all arrays of a model, packed ones as they are; what is shared counts once."""
    arrays = {id(array): array.nbytes for array in jax.tree.leaves(params)}
    return sum(arrays.values())


def bits_per_weight(model: Model) -> float | None:
    """Bits of the layers' matrices over their numbers; None where none of them is packed.

    Scales, zeros and orders count, and filled-up words; the table of a grid, which all matrices
    share, does not, nor do embedding, head and norms.
    """
    weights = [leaf(model.params, path) for path in linear_paths(model.config)]
    if not any(isinstance(weight, PackedWeight) for weight in weights):
        return None
    bits = [w.nbits if isinstance(w, PackedWeight) else 8 * w.nbytes for w in weights]
    return sum(bits) / sum(math.prod(weight.shape) for weight in weights)
