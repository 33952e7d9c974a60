"""What is read of a file, beside the package; what is no such file is refused."""

import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from dopt.errors import DataError
from dopt.models.safetensors_file import stored_arrays


def test_arrays_of_the_package_are_read(tmp_path):
    random = np.random.default_rng(0)
    arrays = {
        f"{name}.{np.dtype(dtype).name}": random.normal(size=shape).astype(dtype)
        for dtype in (np.float64, np.float32, np.float16, jnp.bfloat16)
        for name, shape in (("matrix", (3, 5)), ("vector", (7,)), ("empty", (0, 2)), ("one", ()))
    }
    save_file(arrays, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = stored_arrays(tmp_path / "a.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        read = found[name].read()
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert read.tobytes() == array.tobytes()


def entry(**change):
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | change


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"a": entry(shape=[3])}, r"\(3,\) of F32 in 8 bytes"),
        ({"a": entry(data_offsets=[4, 12])}, "a gap at byte"),
        ({"a": entry(data_offsets=[0, 800], dtype="I8")}, "its header promises"),
        ({"a": entry(data_offsets=[8, 0], dtype="I8")}, "a negative size"),
        ({"a": entry(), "b": entry()}, "a gap at byte"),
        ({"a": {"dtype": "F32"}}, "cut or damaged"),
        ({"a": 3}, "cut or damaged"),
        ([], "cut or damaged"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, entries, words):
    path = tmp_path / "a.safetensors"
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(DataError, match=words):
        stored_arrays(path)


@pytest.mark.parametrize("content", [b"", b"abc", struct.pack("<Q", 2**60) + b"{}", b"\0" * 8])
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cut or damaged"):
        stored_arrays(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        stored_arrays(tmp_path / "b.safetensors")
