"""A small random model, with a tokenizer, and quantizers for it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from compressors.weights import GPTQ, HIGGS, RoundToNearest
from dopt.models import Config, Model, random_parameters
from dopt.models.load import Loaded
from dopt.models.parameters import linear_paths
from dopt.models.scored_tokenizer import ScoredTokenizer


CONFIG = Config(
    vocabulary=300,
    layers=3,
    d_model=64,
    heads=4,
    kv_heads=4,
    head_size=16,
    d_ff=96,
    context=64,
    tied=True,
)
HIGGS_64 = HIGGS(p=2, n=64)
RTN = RoundToNearest(3)
GPTQ_3 = dict.fromkeys(linear_paths(CONFIG), GPTQ(3, 32))
ROWS = np.random.default_rng(0).integers(0, 300, (6, 32))
"""Of tokens, to calibrate on."""


def tokenizer():
    pieces = [b"<unk>", b"<s>", *(b"<0x%02X>" % byte for byte in range(256))]
    pieces += [bytes([97 + i % 26, 97 + i // 26]) for i in range(300 - len(pieces))]
    scores = [0.0] * 258 + [-float(i) for i in range(42)]
    return ScoredTokenizer(pieces, scores, single=range(2, 258), silent=[0, 1], bos=1, eos=(1,))


def small(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    params = random_parameters(config, jax.random.key(0), jnp.float32)
    return Loaded(Model(params, config), tokenizer(), "small", "a note")


def mixed(config=CONFIG):
    """HIGGS for all matrices but "down", which has RTN."""
    return {place: RTN if place[2] == "down" else HIGGS_64 for place in linear_paths(config)}
