import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy_decoder
import pytest

from dopt.errors import ConfigurationError
from dopt.models import (
    Config,
    LinearScaling,
    Llama3Scaling,
    attention,
    decode_step,
    logits,
    parameter_count,
    prefill,
    random_parameters,
)
from dopt.models.parameters import build
from dopt.models.rope import half_split, interleaved


PLAIN = {
    "vocabulary": 13,
    "layers": 2,
    "d_model": 12,
    "heads": 4,
    "kv_heads": 2,
    "head_size": 8,
    "d_ff": 20,
    "context": 64,
}
VARIANTS = {
    "llama": {},
    "tied": {"tied": True},
    "one kv head": {"kv_heads": 1},
    "no groups": {"kv_heads": 4},
    "qwen2": {"qkv_bias": True, "rope_theta": 1e6},
    "qwen3": {"qk_norm": True, "norm_eps": 1e-6},
    "mistral": {"sliding_window": 11},
    "linear": {"scaling": LinearScaling(4.0)},
    "llama3": {"scaling": Llama3Scaling(8.0, 1.0, 4.0, 16), "rope_theta": 500.0},
}


def configured(name):
    return Config(**(PLAIN | VARIANTS[name]))


def drawn(config, dtype):
    """Parameters with nothing at 0 or 1, large enough that attention is far from uniform."""
    random = np.random.default_rng(0)
    return build(
        config,
        lambda path, shape: jnp.asarray(random.normal(len(shape) == 1, 0.6, shape), dtype),
    )


TOKENS = np.array([[1, 5, 12, 0, 7, 7, 3, 2, 9, 4, 11], [2, 2, 8, 1, 0, 12, 6, 10, 5, 3, 1]])


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("dtype", "within"), [(jnp.float32, 1e-5), (jnp.float64, 1e-10)])
def test_logits_are_those_of_plain_loops(name, dtype, within):
    config = configured(name)
    params = drawn(config, dtype)
    found = logits(params, config, TOKENS)
    assert found.dtype == dtype
    for row, tokens in zip(np.asarray(found, np.float64), TOKENS, strict=True):
        expected = numpy_decoder.logits(params, config, tokens)
        np.testing.assert_allclose(row, expected, rtol=0, atol=within * np.abs(expected).max())


@pytest.mark.parametrize("change", [{"norm_eps": 1e-2}, {"rope_theta": 9e3}, {"kv_heads": 1}])
def test_the_oracle_can_tell_models_apart(change):
    config = configured("llama")
    params = drawn(config, jnp.float64)
    found = logits(params, config, TOKENS[:1])[0]
    if "kv_heads" in change:
        # All queries read the first of two heads.
        for layer in params["layers"]:
            layer["k"], layer["v"] = layer["k"][:8], layer["v"][:8]
    expected = numpy_decoder.logits(params, dataclasses.replace(config, **change), TOKENS[0])
    assert np.abs(np.asarray(found) - expected).max() > 1e-4


def test_rows_of_interleaved_files_are_put_into_the_order_inside():
    config = configured("llama")
    params = drawn(config, jnp.float64)
    stored = params | {
        "layers": [
            layer | {"q": interleaved(layer["q"], 4), "k": interleaved(layer["k"], 2)}
            for layer in params["layers"]
        ]
    }
    expected = numpy_decoder.logits(params, config, TOKENS[0])
    found = numpy_decoder.logits(stored, config, TOKENS[0], interleaved=True)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(numpy_decoder.logits(stored, config, TOKENS[0]) - expected).max() > 1e-2
    rows = np.arange(48).reshape(16, 3)
    assert half_split(rows, 2)[:, 0].tolist()[:8] == [0, 6, 12, 18, 3, 9, 15, 21]
    np.testing.assert_array_equal(half_split(interleaved(rows, 2), 2), rows)
    with pytest.raises(ConfigurationError, match="16 rows do not split into 3 heads"):
        half_split(rows, 3)


@pytest.mark.parametrize("name", ["qwen3", "llama3"])
def test_a_cache_gives_what_the_whole_forward_pass_gives(name):
    config = configured(name)
    params = drawn(config, jnp.float64)
    whole = np.asarray(logits(params, config, TOKENS))
    lengths = np.array([5, 2])
    padded = np.where(np.arange(6) < lengths[:, None], TOKENS[:, :6], 9)
    last, cache = prefill(params, config, padded, lengths, capacity=9)
    rows = np.arange(2)
    np.testing.assert_allclose(last, whole[rows, lengths - 1], atol=1e-11)
    for step in range(4):
        token = jnp.asarray(TOKENS[rows, lengths + step])
        last, cache = decode_step(params, config, token, cache)
        np.testing.assert_allclose(last, whole[rows, lengths + step], atol=1e-11)
    last, cache = decode_step(params, config, jnp.array([1, 1]), cache)
    assert cache.lengths.tolist() == [10, 7]
    assert np.isnan(last[0]).all()
    assert np.isfinite(last[1]).all()


def test_bfloat16_is_near_and_has_wide_logits():
    config = configured("qwen3")
    params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), drawn(config, jnp.float64))
    found = logits(params, config, TOKENS[:1])
    assert found.dtype == jnp.float32
    expected = numpy_decoder.logits(params, config, TOKENS[0])
    assert np.abs(np.asarray(found[0]) - expected).max() < 0.1 * np.abs(expected).max()


def test_what_a_model_cannot_read_is_said():
    config = configured("mistral")
    params = drawn(config, jnp.float32)
    with pytest.raises(ConfigurationError, match="12 tokens, but the model's sliding window is 11"):
        logits(params, config, np.ones((1, 12), int))
    plain = configured("llama")
    with pytest.raises(ConfigurationError, match="65 tokens, but the model was made for 64"):
        prefill(drawn(plain, jnp.float32), plain, np.ones((1, 65), int), np.array([65]), 70)
    sound, strange = logits(params, config, np.array([[1, 2, 12, 3], [1, 2, 13, 3]]))
    assert np.isfinite(sound).all()
    assert np.isnan(strange).all()


def test_parameters_are_counted():
    square = {"vocabulary": 32, "d_model": 32, "d_ff": 32, "kv_heads": 4, "tied": True}
    config = Config(**(PLAIN | square))
    params = random_parameters(config, jax.random.key(0))
    assert parameter_count(config) == sum(a.size for a in jax.tree.leaves(params))
    assert "head" not in params
    first, second = params["layers"]
    assert np.abs(first["q"]).mean() == pytest.approx(0.02 * np.sqrt(2 / np.pi), rel=0.1)
    assert not np.array_equal(first["q"], second["q"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": 0}, "layers = 0; it must be a positive integer"),
        ({"heads": 3}, "3 heads are no multiple of 2 kv heads"),
        ({"head_size": 7}, "head_size = 7; rotations go by pairs"),
        ({"rope_theta": float("nan")}, "rope_theta = nan"),
        ({"norm_eps": -1.0}, r"norm_eps = -1.0; it must be in \[0, 1\)"),
        ({"sliding_window": 0}, "sliding_window = 0"),
    ],
)
def test_impossible_sizes_are_refused(change, words):
    with pytest.raises(ConfigurationError, match=words):
        Config(**(PLAIN | change))


def test_impossible_scalings_are_refused():
    with pytest.raises(ConfigurationError, match=r"linear RoPE scaling is 0.5; it must be"):
        LinearScaling(0.5)
    with pytest.raises(ConfigurationError, match=r"low = 4.0 and high = 1.0"):
        Llama3Scaling(8.0, 4.0, 1.0, 8192)


@pytest.mark.parametrize("most", [1, 300, 700])
def test_queries_in_chunks_attend_as_all_at_once(monkeypatch, most):
    config = configured("one kv head")
    params = drawn(config, jnp.float64)
    # 2 rows, 4 heads and 11 × 11 pairs are 968 scores: 11, 4 and 2 chunks, of which one is ragged.
    monkeypatch.setattr(attention, "MOST_SCORES", most)
    jax.clear_caches()
    for row, tokens in zip(logits(params, config, TOKENS), TOKENS, strict=True):
        expected = numpy_decoder.logits(params, config, tokens)
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_long_texts_hold_no_square_of_scores():
    config = Config(**(PLAIN | {"context": 8192, "layers": 1}))
    params = jax.eval_shape(lambda: random_parameters(config, jax.random.key(0)))
    tokens = jax.ShapeDtypeStruct((1, 8192), jnp.int32)
    compiled = jax.jit(logits, static_argnums=1).lower(params, config, tokens).compile()
    square = config.heads * 8192**2 * 4
    assert compiled.memory_analysis().temp_size_in_bytes < square / 4
