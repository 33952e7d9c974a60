import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from dopt.compression.exports.stored_tensors import stored_tensors
from dopt.errors import DataError


ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1, -2], np.int64),
    "c": np.arange(4, dtype=np.float16).astype(jnp.bfloat16),
    "d": np.arange(8, dtype=np.uint8).view(jnp.float8_e4m3fn).reshape(4, 2),
    "e": np.zeros((3, 2), np.int32),
}


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        array = tensor.array()
        assert (array.shape, array.dtype) == (expected[name].shape, expected[name].dtype)
        assert array.tobytes() == expected[name].tobytes()


def test_what_the_package_writes(tmp_path):
    save_file(ARRAYS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    same(stored_tensors(tmp_path), ARRAYS)


def test_shards(tmp_path):
    first, second = {k: ARRAYS[k] for k in "ab"}, {k: ARRAYS[k] for k in "cde"}
    save_file(first, tmp_path / "x-1.safetensors")
    save_file(second, tmp_path / "x-2.safetensors")
    places = dict.fromkeys("ab", "x-1.safetensors") | dict.fromkeys("cde", "x-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    same(stored_tensors(tmp_path), ARRAYS)
    save_file(ARRAYS, tmp_path / "x-2.safetensors")
    with pytest.raises(DataError, match=r"holds [ab] in two files"):
        stored_tensors(tmp_path)
    (tmp_path / "x-1.safetensors").unlink()
    with pytest.raises(DataError, match=r"x-1.safetensors, which .* is not there"):
        stored_tensors(tmp_path)
    index.write_text("[]")
    with pytest.raises(DataError, match="no index of shards"):
        stored_tensors(tmp_path)


def test_a_folder_without_files(tmp_path):
    with pytest.raises(DataError, match=r"holds neither model.safetensors nor"):
        stored_tensors(tmp_path)


@pytest.mark.parametrize("length", [0, 5, 8, 40, 200, -1, 1])
def test_cut_and_grown_files_are_refused(tmp_path, length):
    path = tmp_path / "model.safetensors"
    save_file(ARRAYS, path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" if length == 1 else whole[:length])
    with pytest.raises(DataError, match=r"cut or damaged|its header says"):
        stored_tensors(tmp_path)


def test_a_shape_of_other_bytes_is_refused(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(8)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="8 bytes for"):
        stored_tensors(tmp_path)["a"].array()
