import dataclasses
import json
import shutil

import exported
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compressors.weights import Coding, PackedWeight, Rotation
from dopt.compression.exports import export_compressed_tensors, read_quantized
from dopt.compression.exports.float_quantized import e4m3, float_quantized
from dopt.compression.exports.folder import module_name
from dopt.compression.exports.pack_quantized import PackQuantized, pack_quantized
from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models import Model, logits
from dopt.models.parameters import leaf, linear_paths


def settings_of(folder):
    return json.loads((folder / "config.json").read_text())["quantization_config"]


@pytest.mark.parametrize(
    ("bits", "group", "zeros"),
    [
        (2, 10, 0),
        (3, None, None),
        (3, 10, 0),
        (4, 10, None),
        (5, 10, 0),
        (7, None, 0),
        (8, 10, None),
    ],
)
def test_a_matrix_bit_by_bit(bits, group, zeros):
    random = np.random.default_rng(bits)
    weight = exported.integers(random, 7, 20, bits, group, zeros)
    scheme = pack_quantized(weight)
    assert scheme == PackQuantized(None if group == 20 else group, bits, zeros is None)
    arrays = scheme.write(weight)
    layout = scheme.tensors(7, 20)
    assert {name: array.shape for name, array in arrays.items()} == {
        name: tensor.shape for name, tensor in layout.items()
    }
    tensors = {f"m.{name}": array for name, array in arrays.items()}
    settings = {"type": "int", "num_bits": bits, "symmetric": zeros is None}
    found = exported.dense_of_compressed_tensors(tensors, "m", settings)
    np.testing.assert_array_equal(found, np.asarray(weight.dequantize(jnp.float64)))
    exported.same(scheme.read(arrays, 7, 20), weight)


def test_fp8_numbers_are_their_bits():
    weight = exported.floats(np.random.default_rng(0), 6, 20)
    arrays = float_quantized(weight).write(weight)
    assert arrays["weight"].dtype == jnp.float8_e4m3fn
    found = exported.e4m3(arrays["weight"].view(np.uint8)) * arrays["weight_scale"]
    np.testing.assert_allclose(found, np.asarray(weight.dequantize()), rtol=1e-6)
    finite = np.isfinite(e4m3())
    assert finite.sum() == 254
    np.testing.assert_array_equal(exported.e4m3(np.arange(256))[finite], e4m3()[finite])


KINDS = {
    "symmetric": lambda random, out, inputs, i: exported.integers(random, out, inputs, 4, 32),
    "asymmetric": lambda random, out, inputs, i: exported.integers(random, out, inputs, 4, 16, 0),
    "fp8": lambda random, out, inputs, i: exported.floats(random, out, inputs),
    "mixed": lambda random, out, inputs, i: [
        None,
        exported.floats(random, out, inputs),
        exported.integers(random, out, inputs, 3, None),
        exported.integers(random, out, inputs, 4, 16, 0),
    ][i % 4],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_what_was_written(tmp_path, kind):
    model = exported.model_of(KINDS[kind])
    export_compressed_tensors(tmp_path / "m", model)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    exported.same(read_quantized(tmp_path / "m").params, model.params)
    tensors, settings = exported.tensors_of(tmp_path / "m"), settings_of(tmp_path / "m")
    groups = settings["config_groups"].values()
    plain = 0
    for path in linear_paths(model.config):
        module, weight = module_name(path), leaf(model.params, path)
        mine = [g for g in groups if g["targets"] == ["Linear"] or module in g["targets"]]
        if not isinstance(weight, PackedWeight):
            plain += 1
            assert not mine
            assert module in settings["ignore"]
            np.testing.assert_array_equal(tensors[f"{module}.weight"], weight)
            continue
        [group] = mine
        if path[-1] in ("q", "o"):
            found = exported.dense_of_compressed_tensors(tensors, module, group["weights"])
            np.testing.assert_allclose(found, np.asarray(weight.dequantize()), rtol=1e-6)
    assert len(settings["ignore"]) == plain + 1
    assert "lm_head" in settings["ignore"]


def test_logits_of_the_model_that_is_read(tmp_path):
    model = exported.model_of(KINDS["asymmetric"])
    export_compressed_tensors(tmp_path, model)
    tokens = np.arange(10, dtype=np.int32)[None]
    again = read_quantized(tmp_path)
    np.testing.assert_array_equal(logits(*again, tokens), logits(*model, tokens))


def test_the_configuration(tmp_path):
    model = exported.model_of(KINDS["symmetric"])
    export_compressed_tensors(tmp_path, model)
    assert settings_of(tmp_path) == {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "format": "pack-quantized",
                "targets": ["Linear"],
                "weights": {
                    "num_bits": 4,
                    "type": "int",
                    "symmetric": True,
                    "strategy": "group",
                    "group_size": 32,
                    "dynamic": False,
                    "actorder": None,
                },
                "input_activations": None,
                "output_activations": None,
            }
        },
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
    }
    names = set(load_file(tmp_path / "model.safetensors"))
    assert {name for name in names if name.startswith("model.layers.1.mlp.up_proj")} == {
        "model.layers.1.mlp.up_proj.weight_packed",
        "model.layers.1.mlp.up_proj.weight_scale",
        "model.layers.1.mlp.up_proj.weight_shape",
    }


def test_formats_of_several_kinds_are_mixed(tmp_path):
    export_compressed_tensors(tmp_path, exported.model_of(KINDS["mixed"]))
    settings = settings_of(tmp_path)
    assert settings["format"] == "mixed-precision"
    assert {
        (g["format"], g["weights"]["num_bits"]) for g in settings["config_groups"].values()
    } == {
        ("float-quantized", 8),
        ("pack-quantized", 3),
        ("pack-quantized", 4),
    }


def refused(weight):
    return exported.model_of(lambda random, out, inputs, i: weight(random, out, inputs))


def rotated(random, out, inputs):
    return dataclasses.replace(exported.integers(random, out, inputs), rotation=Rotation(16, 1))


def nf4(random, out, inputs):
    table = jnp.linspace(-1, 1, 16, dtype=jnp.float32)[:, None]
    return dataclasses.replace(exported.integers(random, out, inputs), table=table, offset=0)


def hqq(random, out, inputs):
    weight = exported.integers(random, out, inputs, zeros=0)
    return dataclasses.replace(weight, zeros=jnp.ones(weight.scales.shape, jnp.float16))


def permuted(random, out, inputs):
    return exported.integers(random, out, inputs, order=random.permutation(inputs))


def wide(random, out, inputs):
    weight = exported.integers(random, out, inputs, 8)
    codes = jnp.zeros((out, inputs), jnp.uint16)
    return dataclasses.replace(weight, coding=Coding(512), words=Coding(512).pack(codes))


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (rotated, "rotated in groups of 16"),
        (nf4, "16 values of 1 weights"),
        (hqq, "zeros are float16"),
        (permuted, "write GPTQ files"),
        (wide, "codes have 9 bits"),
    ],
)
def test_what_the_format_does_not_hold_is_refused_first(tmp_path, weight, reason):
    with pytest.raises(UnsupportedError, match=f"q_proj: .*{reason}"):
        export_compressed_tensors(tmp_path / "m", refused(weight))
    assert not (tmp_path / "m").exists()


def test_a_model_without_quantized_matrices_and_a_full_folder(tmp_path):
    plain = exported.model_of(lambda *_: None)
    with pytest.raises(ConfigurationError, match="no matrix of the model is quantized"):
        export_compressed_tensors(tmp_path, plain)
    model = exported.model_of(KINDS["fp8"])
    export_compressed_tensors(tmp_path, model)
    with pytest.raises(ConfigurationError, match="holds a model already"):
        export_compressed_tensors(tmp_path, model)


def test_equal_models_give_equal_bytes(tmp_path):
    for name in "ab":
        export_compressed_tensors(tmp_path / name, exported.model_of(KINDS["mixed"]))
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of symmetric integers of 4 bits in groups of 32."""
    folder = tmp_path_factory.mktemp("written")
    export_compressed_tensors(folder, exported.model_of(KINDS["symmetric"]))
    return folder


@pytest.fixture
def edited(written, tmp_path):
    """Gives the folder with other settings, such as `group.format`, or other tensors."""

    def edit(tensors=None, **settings):
        folder = shutil.copytree(written, tmp_path / "edited")
        config = json.loads((folder / "config.json").read_text())
        quantization = config["quantization_config"]
        group = quantization["config_groups"]["group_0"]
        places = {"": quantization, "group": group, "weights": group["weights"]}
        for name, value in settings.items():
            place, _, key = name.rpartition(".")
            places[place][key] = value
        (folder / "config.json").write_text(json.dumps(config))
        if tensors is not None:
            found = load_file(folder / "model.safetensors")
            tensors(found)
            save_file(found, folder / "model.safetensors")
        return folder

    return edit


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme"),
        ({"sparsity_config": {"format": "sparse-24"}}, "sparsity_config"),
        ({"quantization_status": "frozen"}, "quantization_status"),
        ({"new": 1}, "the setting new = 1 is not known"),
        ({"format": "int-quantized", "group.format": None}, "int4 in the format 'int-quantized'"),
        ({"group.input_activations": {"num_bits": 8}}, "input_activations"),
        ({"weights.dynamic": True}, "dynamic = True"),
        ({"weights.strategy": "tensor"}, "strategy 'tensor'"),
        ({"weights.num_bits": 16}, "int16"),
        ({"weights.zoom": 2}, "zoom"),
    ],
)
def test_settings_that_are_not_read_are_refused(edited, settings, reason):
    with pytest.raises(UnsupportedError, match=reason):
        read_quantized(edited(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"config_groups": None},
        {"config_groups": {"group_0": {"targets": ["Linear"]}}},
        {"weights.group_size": 7},
        {"weights.num_bits": 3},
        {"group.targets": ["re:*"]},
    ],
)
def test_settings_that_fit_no_file_are_refused(edited, settings):
    with pytest.raises(DataError):
        read_quantized(edited(**settings))


def test_targets_by_pattern_and_ignored_ones(edited):
    module = "model.layers.0.mlp.up_proj"

    def plain(tensors):
        for end in ("weight_packed", "weight_scale", "weight_shape"):
            del tensors[f"{module}.{end}"]
        tensors[f"{module}.weight"] = np.ones((64, 32), np.float32)

    settings = {"group.targets": [r"re:.*_proj$"], "ignore": ["re:.*layers.0.mlp.up.*", "lm_head"]}
    model = read_quantized(edited(plain, **settings))
    up = [layer["up"] for layer in model.params["layers"]]
    assert np.all(np.asarray(up[0]) == 1)
    assert isinstance(up[1], PackedWeight)


def test_groups_of_inputs_by_index(edited):
    """What older writers did with `actorder: group`."""
    g_idx = np.int32([1, 0] * 16)
    weight = exported.integers(np.random.default_rng(0), 64, 32, 4, 16)

    def indexed(tensors):
        for name in [name for name in tensors if name.endswith("weight_packed")]:
            inputs = tensors[name].shape[1] * 8
            tensors[name.replace("packed", "g_idx")] = np.arange(inputs, dtype=np.int32) // 32
        tensors["model.layers.0.mlp.up_proj.weight_g_idx"] = g_idx[:32] * 0

    folder = edited(indexed, **{"weights.actorder": "group"})
    assert read_quantized(folder).params["layers"][0]["up"].order is None
    arrays = pack_quantized(weight).write(weight) | {"weight_g_idx": g_idx}
    found = PackQuantized(16, 4, True, indexed=True).read(arrays, 64, 32)
    codes = np.asarray(weight.coding.unpack(weight.words, 32)).astype(int) - 8
    expected = codes * np.asarray(weight.scales, np.float32)[:, g_idx]
    np.testing.assert_array_equal(found.dequantize(), expected)


def damaged(name, change):
    def apply(tensors):
        tensors[f"model.layers.1.mlp.down_proj.{name}"] = change(
            tensors[f"model.layers.1.mlp.down_proj.{name}"].copy()
        )

    return apply


def not_finite(scales):
    scales[0, 0] = np.inf
    return scales


@pytest.mark.parametrize(
    ("tensors", "error", "reason"),
    [
        (damaged("weight_shape", lambda a: a[::-1].copy()), DataError, "weight_shape is"),
        (damaged("weight_scale", not_finite), DataError, "NaN or infinity"),
        (damaged("weight_scale", lambda a: a[:, :1].copy()), DataError, "has shape"),
        (damaged("weight_packed", lambda a: a.astype(np.int64)), UnsupportedError, "stored as I64"),
        (lambda t: t.pop("model.norm.weight"), DataError, "lacks model.norm.weight"),
        (lambda t: t.update(x=np.ones(2)), DataError, "holds x, which"),
    ],
)
def test_files_that_do_not_fit_are_refused(edited, tensors, error, reason):
    with pytest.raises(error, match=reason):
        read_quantized(edited(tensors))


def test_what_is_not_quantized_in_a_dtype_of_choice(tmp_path):
    model = exported.model_of(KINDS["symmetric"])
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), {"norm": model.params["norm"]})
    export_compressed_tensors(tmp_path, Model(model.params | narrow, model.config))
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert read_quantized(tmp_path).params["norm"].dtype == jnp.bfloat16
    wide = read_quantized(tmp_path, jnp.float32)
    assert wide.params["norm"].dtype == jnp.float32
    assert wide.params["layers"][0]["q"].scales.dtype == jnp.float16
