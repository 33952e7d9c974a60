import dataclasses

import jax.numpy as jnp
from small_decoders import CONFIG, drawn

from compressors.weights import RoundToNearest
from dopt.models.fingerprint import fingerprint


def test_every_bit_counts():
    params = drawn(dtype=jnp.float32).params
    layers = params["layers"]
    packed = RoundToNearest(bits=4).quantize(layers[0]["up"]).weight
    last = params["norm"].at[11].set(jnp.nextafter(params["norm"][11], jnp.float32(9)))
    others = [
        params | {"norm": last},
        params | {"norm": params["norm"].reshape(1, 12)},
        params | {"norm": params["norm"].view(jnp.int32)},
        params | {"other": params["norm"]},
        params | {"layers": [layers[1], layers[0]]},
        params | {"layers": [layers[0] | {"up": packed}, layers[1]]},
        params | {"layers": [layers[0] | {"up": dataclasses.replace(packed, offset=3)}, layers[1]]},
        drawn(config=dataclasses.replace(CONFIG, d_ff=21), dtype=jnp.float32).params,
    ]
    found = [fingerprint(p) for p in (params, *others)]
    assert len(set(found)) == len(found)
    assert fingerprint(drawn(dtype=jnp.float32).params) == found[0]
