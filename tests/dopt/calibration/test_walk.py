import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_decoder import attend, normed
from small_decoders import changed, drawn

from compressors.weights import RoundToNearest
from dopt.calibration import saved_hessians, walk
from dopt.errors import ConfigurationError, DataError, DoptError, InterruptedRunError
from dopt.models import Model


TOKENS = np.random.default_rng(5).integers(0, 13, (5, 7))


class Recording:
    """A matrix that keeps what it is applied to."""

    def __init__(self, W, seen):
        self.W, self.seen = W, seen

    def __matmul__(self, x):
        self.seen.append(x.copy())
        return self.W @ x


def plain_hessians(model, rows):
    """XᵀX of the four inputs of every layer, through the plain decoder."""
    params, config = model
    inputs = [
        {name: [] for name in ("attention", "output", "mlp", "down")} for _ in params["layers"]
    ]
    for tokens in rows:
        stream = [np.asarray(params["embedding"], np.float64)[t].copy() for t in tokens]
        for layer, seen in zip(params["layers"], inputs, strict=True):
            layer = {name: np.asarray(value, np.float64) for name, value in layer.items()}
            of = {"q": "attention", "o": "output", "gate": "mlp", "down": "down"}
            layer |= {name: Recording(layer[name], seen[key]) for name, key in of.items()}
            attend(layer, config, stream, interleaved=False)
            for x in stream:
                m = normed(x, layer["mlp_norm"], config.norm_eps)
                gate = layer["gate"] @ m
                x += layer["down"] @ (gate / (1 + np.exp(-gate)) * (layer["up"] @ m))
    return [{name: sum(np.outer(x, x) for x in X) for name, X in seen.items()} for seen in inputs]


def walked(model, tokens=TOKENS, **how):
    """The Hessians of every layer."""
    seen = []
    walk(model, tokens, lambda i, layer, hessians: seen.append(hessians), **how)
    return seen


def assert_close(found, expected, rtol):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, H in one.items():
            assert H.dtype == np.float64
            size = np.sqrt(np.outer(np.diag(other[name]), np.diag(other[name])))
            assert np.abs((H - other[name]) / size).max() < rtol


def bits(hessians):
    return [{name: H.tobytes() for name, H in layer.items()} for layer in hessians]


@pytest.mark.parametrize("batch", [2, 5])
def test_hessians_are_those_of_plain_loops(batch):
    assert_close(walked(drawn(), batch=batch), plain_hessians(drawn(), TOKENS), 1e-12)


def test_float32_and_x64_off():
    with jax.enable_x64(False):
        found = walked(drawn(dtype=jnp.float32), batch=2)
    assert_close(found, plain_hessians(drawn(), TOKENS), 1e-5)


def test_the_walk_goes_on_with_what_the_visitor_gives():
    model, other = drawn(), changed(drawn(), 0.5)
    told = []

    def visit(i, layer, hessians):
        assert layer is model.params["layers"][i]
        told.append(hessians)
        return other.params["layers"][i]

    found = walk(model, TOKENS, visit, batch=2)
    assert found.tokens == 35
    # What a layer sees is of the changed ones in front of it, and of itself as it was.
    mixed = [other.params["layers"][0], model.params["layers"][1]]
    assert_close(told[:1], plain_hessians(model, TOKENS)[:1], 1e-12)
    expected = plain_hessians(Model(model.params | {"layers": mixed}, model.config), TOKENS)
    assert_close(told[1:], expected[1:], 1e-12)


def test_a_walk_that_was_stopped_goes_on_with_the_same_numbers(tmp_path):
    model, other = drawn(), changed(drawn(), 0.5)
    seen = {}

    def visit(i, layer, hessians):
        seen.setdefault(i, []).append(bits([hessians]))
        return other.params["layers"][i]

    walk(model, TOKENS, visit, batch=2)
    told = []
    with pytest.raises(InterruptedRunError, match="finished layers are kept"):
        walk(model, TOKENS, visit, batch=2, folder=tmp_path, stopping=lambda: len(seen[0]) > 1)
    assert (len(seen[0]), len(seen[1])) == (2, 1)
    walk(
        model, TOKENS, visit, batch=2, folder=tmp_path, on_progress=lambda *step: told.append(step)
    )
    assert told == [(4, 6), (5, 6), (6, 6)]
    assert {i: len(set(map(str, found))) for i, found in seen.items()} == {0: 1, 1: 1}
    assert (len(seen[0]), len(seen[1])) == (2, 2)
    assert walk(model, TOKENS, pytest.fail, batch=2, folder=tmp_path).tokens == 35
    assert bits([saved_hessians(tmp_path, 1)]) == seen[1][0]
    assert not list(tmp_path.glob("stream-*.npy"))


def test_a_killed_walk_goes_on(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import os, signal, jax
jax.config.update("jax_enable_x64", True)
from small_decoders import drawn
from test_walk import TOKENS
from dopt.calibration import walk
kill = lambda i, layer, hessians: i and os.kill(os.getpid(), signal.SIGKILL)
walk(drawn(), TOKENS, lambda *all: kill(*all) or None, batch=2, folder={str(tmp_path)!r})
"""
    paths = {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[3]}"}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=paths)
    assert done.returncode == -signal.SIGKILL
    seen = []
    walk(drawn(), TOKENS, lambda i, *rest: seen.append((i, rest[1])), batch=2, folder=tmp_path)
    assert [i for i, _ in seen] == [1]
    assert bits([h for _, h in seen]) == bits(walked(drawn(), batch=2)[1:])


def test_a_folder_is_of_one_walk(tmp_path):
    model = drawn()
    walked(model, folder=tmp_path, batch=2)
    other = [
        (drawn(1), TOKENS, {"batch": 2}, "model"),
        (
            Model(model.params, dataclasses.replace(model.config, norm_eps=1e-6)),
            TOKENS,
            {"batch": 2},
            "model",
        ),
        (model, TOKENS[:4], {"batch": 2}, "tokens"),
        (model, TOKENS, {"batch": 5}, "batch"),
        (model, TOKENS, {"batch": 2, "purpose": "GPTQ"}, "purpose"),
    ]
    for given, tokens, how, what in other:
        with pytest.raises(ConfigurationError, match=f"was begun with another {what}"):
            walked(given, tokens, folder=tmp_path, **how)

    def again(i, layer, hessians):
        walked(model, folder=tmp_path / "in", batch=2)

    with pytest.raises(DoptError, match="is writing to"):
        walk(model, TOKENS, again, folder=tmp_path / "in", batch=2)


def test_damaged_folders_are_refused(tmp_path):
    def stopped(i, layer, hessians):
        if i == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk(drawn(), TOKENS, stopped, folder=tmp_path)
    with pytest.raises(DataError, match="layer 1 is not among the 1 finished layers"):
        saved_hessians(tmp_path, 1)
    shard = tmp_path / "shards" / "layer-000.npz"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match=r"layer-000.npz cannot be read"):
        saved_hessians(tmp_path, 0)
    stream = tmp_path / "stream-001.npy"
    stream.write_bytes(stream.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"stream-001.npy cannot be used"):
        walked(drawn(), folder=tmp_path)
    for content in ("{", "[1]", "{}"):
        (tmp_path / "walk.json").write_text(content)
        with pytest.raises(DataError, match=r"walk.json is damaged"):
            walked(drawn(), folder=tmp_path)


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5 * 7 * 12 * 8 - 1))
    with pytest.raises(DoptError, match="GB are free; free some"):
        walked(drawn(), folder=tmp_path)


def test_a_visitor_may_give_packed_layers():
    model = drawn(dtype=jnp.float32)
    quantizer = RoundToNearest(bits=4)
    told = []

    def visit(i, layer, hessians):
        told.append(hessians)
        return layer | {"up": quantizer.quantize(layer["up"]).weight}

    walk(model, TOKENS, visit, batch=2)
    first, second = model.params["layers"]
    first = first | {"up": quantizer.quantize(first["up"]).weight.dequantize()}
    whole = Model(model.params | {"layers": [first, second]}, model.config)
    assert_close(told[1:], plain_hessians(whole, TOKENS)[1:], 1e-5)


def test_dead_inputs_are_counted():
    params, config = drawn()
    layers = [layer.copy() for layer in params["layers"]]
    layers[1]["mlp_norm"] = layers[1]["mlp_norm"].at[jnp.array([0, 5])].set(0.0)
    layers[0]["up"] = layers[0]["up"].at[3].set(0.0)
    found = walk(Model(params | {"layers": layers}, config), TOKENS, lambda *all: None)
    assert found.dead == [
        {"attention": 0, "output": 0, "mlp": 0, "down": 1},
        {"attention": 0, "output": 0, "mlp": 2, "down": 0},
    ]


def test_what_cannot_be_walked_is_said():
    params, config = drawn()
    broken = Model(params | {"embedding": params["embedding"].at[1].set(jnp.nan)}, config)
    with pytest.raises(DataError, match="the attention inputs of layer 0 are NaN or infinite"):
        walked(broken, np.ones((1, 3), int))
    with pytest.raises(ConfigurationError, match="13 tokens, but the model was made for 12"):
        walked(drawn(), np.ones((1, 13), int))
    with pytest.raises(ConfigurationError, match="token 13 is not in the vocabulary"):
        walked(drawn(), np.full((1, 3), 13))
    with pytest.raises(ConfigurationError, match=r"shape \(0, 3\)"):
        walked(drawn(), np.ones((0, 3), int))
