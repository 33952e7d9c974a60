import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from compressing import CONFIG, GPTQ_3, HIGGS_64, ROWS, RTN, mixed, small

from compressors.weights import GPTQ, PackedWeight, RoundToNearest, relative_error
from dopt.compression.compress import How, compress
from dopt.compression.folder import load_compressed, read_manifest
from dopt.errors import ConfigurationError, DoptError, InterruptedRunError, UnsupportedError
from dopt.models import LinearScaling, Llama3Scaling, Model, logits
from dopt.models.decoder import INPUT_OF, block_with_inputs, embed, places
from dopt.models.load import load
from dopt.models.parameters import leaf, linear_paths, replaced


TOKENS = np.arange(3, 27, dtype=np.int32)[None]
TESTS = Path(__file__).parents[2]


def contents(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compressed")
    compress(small(), How(mixed()), folder)
    return folder


def dequantized(model):
    places = linear_paths(model.config)
    dense = {place: leaf(model.params, place).dequantize() for place in places}
    dense["embedding",] = model.params["embedding"].astype(jnp.float32)
    return Model(replaced(model.params, dense), model.config)


def test_the_loaded_model_is_the_quantized_one(folder):
    original, loaded = small(), load_compressed(folder)
    assert loaded.model.config == CONFIG
    assert loaded.model.params["embedding"].dtype == jnp.float16
    assert loaded.model.params["norm"].dtype == jnp.float32
    for place, quantizer in mixed().items():
        packed = leaf(loaded.model.params, place)
        assert isinstance(packed, PackedWeight)
        expected = quantizer.quantize(leaf(original.model.params, place)).weight
        for part in ("words", "scales", "table"):
            np.testing.assert_array_equal(getattr(packed, part), getattr(expected, part))
        assert (packed.coding, packed.offset) == (expected.coding, expected.offset)
        assert (packed.rotation, packed.shape) == (expected.rotation, expected.shape)


def test_logits_are_those_of_the_dequantized_model(folder):
    model = load(folder).model
    dense = dequantized(model)
    np.testing.assert_allclose(
        logits(model.params, CONFIG, TOKENS), logits(dense.params, CONFIG, TOKENS), atol=2e-5
    )


def test_tokenizer_note_and_name_come_back(folder):
    loaded = load(folder)
    text = "hello there"
    assert loaded.tokenizer.encode(text) == small().tokenizer.encode(text)
    assert (loaded.note, loaded.name) == ("a note", folder.name)


def test_the_manifest_tells_errors_bits_and_settings(folder):
    manifest, loaded = read_manifest(folder), load_compressed(folder)
    params = small().model.params
    assert list(manifest["matrices"]) == [".".join(map(str, p)) for p in linear_paths(CONFIG)]
    for place in linear_paths(CONFIG):
        record, packed = manifest["matrices"][".".join(map(str, place))], None
        packed = leaf(loaded.model.params, place)
        assert record["bits"] == packed.nbits
        error = relative_error(leaf(params, place), packed.dequantize())
        assert record["error"] == pytest.approx(error, rel=1e-5)
    assert manifest["matrices"]["layers.0.q"]["quantizer"]["n"] == 64
    assert manifest["matrices"]["layers.2.down"]["quantizer"]["method"] == "RoundToNearest"
    matrices = sum(leaf(loaded.model.params, place).nbits for place in linear_paths(CONFIG))
    rest = 16 * 300 * 64 + 32 * (1 + 2 * 3) * 64 + 32 * 64 * 2
    assert manifest["bits"] == {"matrices": matrices, "model": matrices + rest}


def test_tables_are_there_once(folder):
    assert len(list((folder / "shards").glob("table-*"))) == 1
    layers = load_compressed(folder).model.params["layers"]
    assert layers[0]["q"].table is layers[2]["up"].table


def test_files_on_the_disk_are_little_more_than_their_bits(folder):
    manifest = read_manifest(folder)
    assert manifest["bits"]["model"] / 8 < sum(m["bytes"] for m in manifest["files"].values())


def test_it_is_the_same_bytes_every_time(folder, tmp_path):
    compress(small(), How(mixed()), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


def test_a_finished_folder_stays_as_it_is(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert compress(small(), How(mixed()), folder) == read_manifest(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")} == before


def test_stopped_on_request_it_goes_on_with_the_same_bytes(folder, tmp_path):
    seen = []
    with pytest.raises(InterruptedRunError, match="run the same again"):
        compress(
            small(),
            How(mixed()),
            tmp_path / "stopped",
            on_progress=lambda done, total: seen.append((done, total)),
            stopping=lambda: len(seen) == 10,
        )
    assert seen[-1] == (10, 21)
    names = {path.name for path in (tmp_path / "stopped" / "shards").iterdir()}
    assert "layer-00000.safetensors" in names
    assert "layer-00001.safetensors" not in names
    with pytest.raises(DoptError, match="did not end"):
        load(tmp_path / "stopped")
    compress(small(), How(mixed()), tmp_path / "stopped", on_progress=lambda *s: seen.append(s))
    assert seen[10] == (8, 21)
    assert contents(tmp_path / "stopped") == contents(folder)


KILLED = """
import os, signal, sys
import jax
jax.config.update("jax_enable_x64", True)
from compressing import GPTQ_3, ROWS, mixed, small
from dopt.compression.compress import How, compress

def die(done, total):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

compress(small(), {how}, sys.argv[1], on_progress=die)
"""


def killed(where, how, done):
    """Compresses in a process of its own, which is killed when so many matrices are done."""
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    run = subprocess.run(
        [sys.executable, "-c", KILLED.replace("{how}", how), str(where), str(done)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert (where / "dopt_compressed.part.json").exists()


def test_killed_it_goes_on_with_the_same_bytes(folder, tmp_path):
    where = tmp_path / "killed"
    killed(where, "How(mixed())", 12)
    compress(small(), How(mixed()), where)
    assert contents(where) == contents(folder)


def test_other_settings_or_another_model_are_refused(folder, tmp_path):
    others = mixed() | {("layers", 1, "q"): RTN}
    with pytest.raises(ConfigurationError, match="begun with another quantizers"):
        compress(small(), How(others), folder)
    with pytest.raises(ConfigurationError, match="begun with another outside"):
        compress(small(), How(mixed(), outside="float32"), folder)
    loaded = small()
    changed = replaced(loaded.model.params, {("norm",): 2 * loaded.model.params["norm"]})
    with pytest.raises(ConfigurationError, match="begun with another source"):
        compress(loaded._replace(model=Model(changed, CONFIG)), How(mixed()), folder)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="holds a model"):
        compress(small(), How(mixed()), tmp_path)


def test_two_processes_do_not_write_at_once(tmp_path):
    loaded = small()
    refused = []

    def second(done, total):
        if done == 1:
            with pytest.raises(DoptError, match="is writing to"):
                compress(loaded, How(mixed()), tmp_path)
            refused.append(done)

    compress(loaded, How(mixed()), tmp_path, on_progress=second)
    assert refused == [1]


@pytest.mark.parametrize(
    "scaling", [LinearScaling(2.0), Llama3Scaling(8.0, 1.0, 4.0, 32)], ids=["linear", "llama3"]
)
def test_other_configurations(tmp_path, scaling):
    loaded = small(layers=1, scaling=scaling, tied=False, qkv_bias=True, sliding_window=64)
    quantizers = dict.fromkeys(linear_paths(loaded.model.config), HIGGS_64)
    compress(
        loaded._replace(tokenizer=None, note=None), How(quantizers, outside="bfloat16"), tmp_path
    )
    back = load(tmp_path)
    assert back.model.config == loaded.model.config
    assert back.tokenizer is None
    assert back.model.params["head"].dtype == jnp.bfloat16
    assert back.model.params["layers"][0]["q_bias"].dtype == jnp.float32


def test_refusals(tmp_path):
    loaded = small()
    bad = mixed() | {("layers", 1, "q"): RoundToNearest(3, group=48)}
    with pytest.raises(ConfigurationError, match=r"layers\.1\.q: "):
        compress(loaded, How(bad), tmp_path / "shape")
    assert not (tmp_path / "shape").exists()
    params = replaced(loaded.model.params, {("layers", 2, "k"): jnp.full((64, 64), jnp.nan)})
    with pytest.raises(ConfigurationError, match=r"layers\.2\.k: 4096 of 4096 weights are NaN"):
        compress(loaded._replace(model=Model(params, CONFIG)), How(mixed()), tmp_path / "nan")
    big = replaced(loaded.model.params, {("embedding",): jnp.full((300, 64), 1e6)})
    with pytest.raises(ConfigurationError, match="embedding holds numbers that float16"):
        compress(loaded._replace(model=Model(big, CONFIG)), How(mixed()), tmp_path / "big")
    (tmp_path / "file").write_text("")
    with pytest.raises(DoptError, match="file"):
        compress(loaded, How(mixed()), tmp_path / "file")


def test_a_compressed_model_is_not_compressed_again(folder, tmp_path):
    with pytest.raises(UnsupportedError, match="is compressed already"):
        compress(load(folder), How(mixed()), tmp_path)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    compress(small(), How(GPTQ_3, ROWS), folder)
    return folder


def test_later_layers_are_calibrated_behind_compressed_ones(calibrated):
    params, found = small().model.params, load(calibrated).model.params
    x = embed(params, jnp.asarray(ROWS, jnp.int32))
    where = places(CONFIG, jnp.arange(32, dtype=jnp.int32)[None], 32, jnp.float32)
    for layer, packed in zip(params["layers"], found["layers"], strict=True):
        _, inputs = block_with_inputs(layer, CONFIG, x, where)
        for name in ("q", "o", "up", "down"):
            X = np.asarray(inputs[INPUT_OF[name]], np.float64).reshape(-1, layer[name].shape[1])
            weight = GPTQ(3, 32).quantize(layer[name], X.T @ X).weight
            different = np.mean(np.asarray(weight.words != packed[name].words))
            assert different < 0.02  # H is rounded otherwise
        dense = {name: value.dequantize() for name, value in packed.items() if name in INPUT_OF}
        x, _ = block_with_inputs(layer | dense, CONFIG, x, where)


def test_damping_is_told(calibrated):
    record = read_manifest(calibrated)["matrices"]["layers.1.down"]
    assert record["damping"] >= 0.01
    assert record["tries"] >= 1
    assert read_manifest(calibrated)["plan"]["calibration"]["windows"] == 6


@pytest.mark.parametrize(("done", "first"), [(3, 1), (10, 8)])
def test_killed_in_a_calibrated_layer_it_goes_on_with_the_same_bytes(
    calibrated, tmp_path, done, first
):
    killed(tmp_path, "How(GPTQ_3, ROWS)", done)
    assert (tmp_path / "calibration").exists()
    seen = []
    compress(small(), How(GPTQ_3, ROWS), tmp_path, on_progress=lambda *step: seen.append(step))
    assert seen[0] == (first, 21)
    assert contents(tmp_path) == contents(calibrated)


def test_methods_that_need_text_ask_for_it(tmp_path):
    with pytest.raises(ConfigurationError, match="gptq needs text to calibrate on"):
        compress(small(), How(GPTQ_3), tmp_path)


def test_plans_are_json(folder):
    plan = read_manifest(folder)["plan"]
    assert json.loads(json.dumps(plan)) == plan
    assert plan["calibration"] is None
