import json
import shutil

import exported
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compressors.weights import Coding, PackedWeight
from dopt.compression.exports import export_gptq, read_quantized
from dopt.compression.exports.folder import module_name
from dopt.compression.exports.gptq_files import GPTQFiles
from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models.parameters import leaf, linear_paths


# AutoGPTQ 0.7.1, QuantLinear.pack on a CPU: codes ((7i² + 3i + 1)//3 + 5o) mod 2^bits of output o
# and input i, both from 0 to 31, zeros 1 + o mod (2^bits − 1), one group: the words of outputs 0
# and 31, and of the zeros.
AUTO_GPTQ = {
    2: (
        [1014590780, 1832679789],
        [-349955861, 418063384],
        [613566756, 1227133513],
    ),
    3: (
        [-181694248, 463314890, 730912829],
        [-2003482701, -1066342031, -1790463094],
        [-786774392, 1796875096, 1754096452],
    ),
    4: (
        [-1694921936, -948153491, -1616259531, 309396408],
        [1168389867, 1915162136, 1247052256, -852705693],
        [1985229328, 249346712, -2023406815, 284019625],
    ),
}


@pytest.mark.parametrize("bits", AUTO_GPTQ)
def test_words_are_those_of_the_package(bits):
    o, i = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    n, coding = 1 << bits, Coding(1 << bits)
    codes = ((7 * i * i + 3 * i + 1) // 3 + 5 * o) % n
    zeros = 1 + np.arange(32) % (n - 1)
    weight = PackedWeight(
        coding.pack(jnp.asarray(codes, jnp.uint8)),
        jnp.full((32, 1), 0.5, jnp.float16),
        coding.pack(jnp.asarray(zeros[:, None], jnp.uint8)),
        None,
        None,
        coding,
        32,
    )
    arrays = GPTQFiles(None, bits, 1).write(weight)
    found = arrays["qweight"][:, 0], arrays["qweight"][:, 31], arrays["qzeros"][0]
    assert tuple(words.tolist() for words in found) == AUTO_GPTQ[bits]


def make(bits, group=16, zeros=None, permuted=False):
    def matrix(random, out, inputs, _):
        order = random.permutation(inputs) if permuted else None
        return exported.integers(random, out, inputs, bits, group, zeros, order)

    return matrix


@pytest.mark.parametrize(
    ("checkpoint_format", "bits", "how", "settings"),
    [
        ("gptq", 4, {}, {"group_size": 16, "desc_act": False, "sym": True}),
        ("gptq", 3, {"zeros": 1}, {"group_size": 16, "desc_act": False, "sym": False}),
        ("gptq", 2, {"group": None}, {"group_size": -1, "desc_act": False, "sym": True}),
        ("gptq_v2", 3, {"zeros": 0}, {"group_size": 16, "desc_act": False, "sym": False}),
        ("gptq", 4, {"permuted": True}, {"group_size": 16, "desc_act": True, "sym": True}),
        ("gptq", 8, {"group": 32}, {"group_size": 32, "desc_act": False, "sym": True}),
    ],
)
def test_a_model_is_what_was_written(tmp_path, checkpoint_format, bits, how, settings):
    model = exported.model_of(make(bits, **how))
    export_gptq(tmp_path, model, checkpoint_format=checkpoint_format)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["torch_dtype"] == "float16"
    assert config["quantization_config"] == settings | {
        "quant_method": "gptq",
        "checkpoint_format": checkpoint_format,
        "bits": bits,
        "lm_head": False,
        "pack_dtype": "int32",
    }
    tensors, again = load_file(tmp_path / "model.safetensors"), read_quantized(tmp_path)
    if not how.get("permuted"):
        exported.same(again.params, model.params)
    for path in linear_paths(model.config)[: 4 if how.get("permuted") else 1]:
        less = 1 if checkpoint_format == "gptq" else 0
        found = exported.dense_of_gptq(tensors, module_name(path), bits, less)
        np.testing.assert_array_equal(found, np.asarray(leaf(model.params, path).dequantize()))
        np.testing.assert_array_equal(found, np.asarray(leaf(again.params, path).dequantize()))


def test_shapes_and_dtypes_are_those_of_the_layout(tmp_path):
    model = exported.model_of(make(3))
    export_gptq(tmp_path, model)
    tensors = load_file(tmp_path / "model.safetensors")
    module = "model.layers.0.mlp.up_proj"
    assert {
        name.removeprefix(f"{module}."): (array.shape, array.dtype.name)
        for name, array in tensors.items()
        if name.startswith(module)
    } == {
        "qweight": ((3, 64), "int32"),
        "qzeros": ((2, 6), "int32"),
        "scales": ((2, 64), "float16"),
        "g_idx": ((32,), "int32"),
    }


def plain_first(random, out, inputs, i):
    return None if i == 0 else exported.integers(random, out, inputs)


def two_widths(random, out, inputs, i):
    return exported.integers(random, out, inputs, 4 if i else 3)


def wide_scales(random, out, inputs, _):
    return exported.integers(random, out, inputs, dtype=jnp.float32)


def eight_bit_floats(random, out, inputs, _):
    return exported.floats(random, out, inputs)


def zero_of_zero(random, out, inputs, _):
    weight = exported.integers(random, out, inputs, zeros=1)
    return PackedWeight(
        weight.words,
        weight.scales,
        jnp.zeros_like(weight.zeros),
        None,
        None,
        weight.coding,
        inputs,
    )


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (plain_first, "13 of 14 matrices are quantized"),
        (two_widths, r"14 of 14 .*\(3, 16\), \(4, 16\)"),
        (make(5), "q_proj: its codes have 5 bits; the format has 2, 3, 4, 8"),
        (wide_scales, "q_proj: float16 does not hold its scales of float32"),
        (eight_bit_floats, "q_proj: its codes stand for 256 values"),
    ],
)
def test_what_the_format_does_not_hold_is_refused_first(tmp_path, matrix, reason):
    with pytest.raises(UnsupportedError, match=reason):
        export_gptq(tmp_path / "m", exported.model_of(matrix))
    assert not (tmp_path / "m").exists()


def test_a_zero_of_zero_goes_into_version_2_alone(tmp_path):
    model = exported.model_of(zero_of_zero)
    with pytest.raises(UnsupportedError, match=r'q_proj: .*checkpoint_format="gptq_v2"'):
        export_gptq(tmp_path / "m", model, checkpoint_format="gptq")
    assert not (tmp_path / "m").exists()
    export_gptq(tmp_path / "m", model)
    told = json.loads((tmp_path / "m" / "config.json").read_text())["quantization_config"]
    assert told["checkpoint_format"] == "gptq_v2"
    exported.same(read_quantized(tmp_path / "m").params, model.params)


def test_sizes_that_are_no_multiples_of_32_are_refused(tmp_path):
    odd = exported.integers(np.random.default_rng(0), 20, 32)
    model = exported.model_of(lambda *_: odd)
    with pytest.raises(UnsupportedError, match=r"multiples of 32, not \(20, 32\)"):
        export_gptq(tmp_path, model)


def test_rows_as_long_as_the_groups_of_others_are_groups(tmp_path):
    """[64, 32] in groups of 32, which is a row, beside [32, 64] in groups of 32."""
    export_gptq(tmp_path, exported.model_of(make(4, 32)))
    told = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert told["group_size"] == 32
    tensors = load_file(tmp_path / "model.safetensors")
    assert tensors["model.layers.0.mlp.up_proj.scales"].shape == (1, 64)
    assert tensors["model.layers.0.mlp.down_proj.scales"].shape == (2, 32)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    export_gptq(folder, exported.model_of(make(4)))
    return folder


@pytest.fixture
def edited(written, tmp_path):
    """Gives the folder with other settings, or with one matrix's tensor changed."""

    def edit(name=None, change=None, **settings):
        folder = shutil.copytree(written, tmp_path / "edited")
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] |= settings
        (folder / "config.json").write_text(json.dumps(config))
        if name is not None:
            found = load_file(folder / "model.safetensors")
            found[name] = change(found.get(name))
            save_file(found, folder / "model.safetensors")
        return folder

    return edit


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"checkpoint_format": "marlin"}, "checkpoint format 'marlin'"),
        ({"bits": 5}, "weights of 5 bits"),
        ({"lm_head": True}, "lm_head = True"),
        ({"dynamic": {"-:.*down": {}}}, "dynamic"),
        ({"new": 3}, "the setting new = 3"),
        ({"quant_method": "awq"}, "quantized by 'awq'"),
    ],
)
def test_settings_that_are_not_read_are_refused(edited, settings, reason):
    with pytest.raises(UnsupportedError, match=reason):
        read_quantized(edited(**settings))


@pytest.mark.parametrize("settings", [{"group_size": 128}, {"group_size": None}, {"bits": 8}])
def test_settings_that_fit_no_file_are_refused(edited, settings):
    with pytest.raises(DataError):
        read_quantized(edited(**settings))


def test_settings_of_other_writers(edited):
    settings = {"checkpoint_format": None, "format": "gptq", "meta": {"quantizer": ["x"]}}
    assert read_quantized(edited(**settings)).params["layers"][0]["q"].shape == (64, 32)


MODULE = "model.layers.1.mlp.down_proj"


def test_biases_of_zeros_are_passed_over_and_others_refused(edited):
    read_quantized(edited(f"{MODULE}.bias", lambda _: np.zeros(32, np.float16)))


def test_biases_that_the_decoder_does_not_have_are_refused(edited):
    with pytest.raises(DataError, match=r"holds .*down_proj.bias"):
        read_quantized(edited(f"{MODULE}.bias", lambda _: np.ones(32, np.float16)))


def test_a_zero_that_readers_take_in_two_ways_is_refused(edited):
    def last(zeros):
        zeros[1, 2] |= 15 << 8
        return zeros

    with pytest.raises(DataError, match="down_proj: a zero is stored as 15"):
        read_quantized(edited(f"{MODULE}.qzeros", last))


def test_groups_of_several_sizes_are_refused(edited):
    with pytest.raises(DataError, match="down_proj: 4 groups of 64 inputs have several sizes"):
        read_quantized(edited(f"{MODULE}.g_idx", lambda g_idx: np.minimum(g_idx, 2)))


def test_a_model_without_quantized_matrices_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no matrix of the model is quantized"):
        export_gptq(tmp_path, exported.model_of(lambda *_: None))
