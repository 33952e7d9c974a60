import jax.numpy as jnp
import pytest
from small_decoders import drawn

from compressors.weights import RoundToNearest
from dopt.evaluation import bits_per_weight, resident_bytes
from dopt.models import Model, parameter_count


def test_bytes_and_bits_of_parameters():
    params, config = drawn(dtype=jnp.float32)
    assert resident_bytes(params) == 4 * parameter_count(config)
    assert resident_bytes(params | {"head": params["embedding"]}) < resident_bytes(params)
    assert bits_per_weight(Model(params, config)) is None
    W = params["layers"][0]["up"]
    packed = RoundToNearest(bits=4).quantize(W).weight
    layers = [params["layers"][0] | {"up": packed}, *params["layers"][1:]]
    mixed = params | {"layers": layers}
    saved = W.nbytes - packed.nbits // 8
    assert resident_bytes(params) - resident_bytes(mixed) == saved
    # q, k, v, o of 4 heads and 2 kv heads of size 8, d = 12, and three matrices of d_ff = 20.
    weights = 2 * (12 * 8 * (4 + 2 + 2 + 4) + 3 * 12 * 20)
    expected = 32 - 8 * saved / weights
    assert bits_per_weight(Model(mixed, config)) == pytest.approx(expected)
