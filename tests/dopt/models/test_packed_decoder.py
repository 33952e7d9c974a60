"""A decoder with packed matrices computes what it does with the matrices dequantized."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors.weights import HIGGS, NF4, RoundToNearest
from dopt.models import Config, Model, decode_step, generate, logits, prefill, random_parameters
from dopt.models.decoder import block_with_inputs, embed, head, places
from dopt.models.parameters import leaf, linear_paths, replaced


CONFIG = Config(
    vocabulary=40,
    layers=2,
    d_model=32,
    heads=4,
    kv_heads=2,
    head_size=8,
    d_ff=48,
    context=64,
    tied=True,
)
FORMATS = (HIGGS(2, 64), RoundToNearest(4, 16), NF4(16), HIGGS(1, 19), RoundToNearest(8))
TOKENS = np.array([[3, 1, 39, 0, 7], [2, 2, 5, 8, 0]], np.int32)


@pytest.fixture(scope="module")
def pair():
    """Parameters with packed matrices of various formats, and the same in float32."""
    params = random_parameters(CONFIG, jax.random.key(0))
    params = jax.tree.map(lambda array: 8 * array if array.ndim > 1 else array, params)
    packed = {
        path: FORMATS[i % len(FORMATS)].quantize(leaf(params, path)).weight
        for i, path in enumerate(linear_paths(CONFIG))
    }
    packed["embedding",] = RoundToNearest(8).quantize(params["embedding"]).weight
    dense = {path: weight.dequantize() for path, weight in packed.items()}
    return replaced(params, packed), replaced(params, dense)


def test_logits_are_those_of_the_dequantized_matrices(pair):
    packed, dense = (logits(params, CONFIG, TOKENS) for params in pair)
    assert packed.dtype == jnp.float32
    assert float(jnp.std(dense)) > 0.1
    assert np.allclose(packed, dense, atol=2e-4)


def test_decoding_with_a_cache_agrees(pair):
    packed, dense = pair
    lengths = np.array([5, 3], np.int32)
    results = []
    for params in (packed, dense):
        last, cache = prefill(params, CONFIG, TOKENS, lengths, 8)
        following, _ = decode_step(params, CONFIG, jnp.array([4, 9], jnp.int32), cache)
        results.append((last, following))
    for ours, theirs in zip(*results, strict=True):
        assert np.allclose(ours, theirs, atol=2e-4)


def test_text_is_generated_from_packed_weights(pair):
    texts = [generate(Model(params, CONFIG), [[3, 1, 4]], new_tokens=5) for params in pair]
    assert texts[0] == texts[1]


def test_inputs_of_a_packed_layer_are_those_of_a_dense_one(pair):
    where = places(CONFIG, jnp.arange(5, dtype=jnp.int32)[None], 5, jnp.float32)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 32)), jnp.float32)
    given = [block_with_inputs(params["layers"][0], CONFIG, x, where) for params in pair]
    assert np.allclose(given[0][0], given[1][0], atol=2e-4)
    assert given[0][1].keys() == given[1][1].keys()
    for name, inputs in given[0][1].items():
        assert np.allclose(inputs, given[1][1][name], atol=2e-4)


def test_a_packed_embedding_knows_its_tokens_alone(pair):
    found = embed(pair[0], jnp.array([[0, 39, 40, -1]], jnp.int32))
    assert np.allclose(found[0, :2], pair[1]["embedding"][np.array([0, 39])])
    assert np.isnan(found[0, 2:]).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_narrow_head_is_widened_in_windows(pair, dtype, monkeypatch):
    params = pair[1]
    narrow = replaced(params, {("embedding",): params["embedding"].astype(dtype)})
    rounded = replaced(
        params, {("embedding",): params["embedding"].astype(dtype).astype("float32")}
    )
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 32)), jnp.float32)
    expected = head(rounded, CONFIG, x)
    monkeypatch.setattr("dopt.models.decoder._WIDENED", 7 * 32)
    jax.clear_caches()
    got = head(narrow, CONFIG, x)
    assert got.dtype == jnp.float32
    assert np.allclose(got, expected, atol=1e-5)
    assert embed(narrow, jnp.asarray(TOKENS)).dtype == jnp.float32


def test_no_float32_copy_of_a_narrow_head_is_made():
    config = Config(**{**vars(CONFIG), "vocabulary": 40_000, "d_model": 256})
    params = {
        "embedding": jax.ShapeDtypeStruct((40_000, 256), jnp.float16),
        "norm": jax.ShapeDtypeStruct((256,), jnp.float32),
    }
    x = jax.ShapeDtypeStruct((1, 256), jnp.float32)
    compiled = head.lower(params, config, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 40_000 * 256 * 4 / 2
