"""Arrays in shards: in order, and each where the index says."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from dopt.errors import ConfigurationError, DataError
from dopt.models.sharded import stored_in, write_shards


# Two arrays of one parameter stay together.
PARAMETERS = [
    {"a": np.arange(10, dtype=np.float32)},
    {"b.words": np.arange(6, dtype=np.int32), "b.scales": np.ones(2, np.float32)},
    {"c": np.arange(30, dtype=np.float32).reshape(6, 5).T},
    {"d": np.zeros(1, np.float16)},
]


@pytest.mark.parametrize(
    ("most", "files"),
    [
        (194, [["a", "b.scales", "b.words", "c", "d"]]),
        (193, [["a", "b.scales", "b.words", "c"], ["d"]]),
        (100, [["a", "b.scales", "b.words"], ["c"], ["d"]]),
        (1, [["a"], ["b.scales", "b.words"], ["c"], ["d"]]),
    ],
)
def test_shards(tmp_path, most, files):
    write_shards(tmp_path, iter(PARAMETERS), most)
    paths = sorted(tmp_path.glob("*.safetensors"))
    assert [sorted(load_file(path)) for path in paths] == files
    assert not list(tmp_path.glob("*.part"))
    index = tmp_path / "model.safetensors.index.json"
    assert index.exists() == (len(files) > 1)
    if len(files) == 1:
        assert paths[0].name == "model.safetensors"
    else:
        held = json.loads(index.read_text())
        places = {name: path.name for path in paths for name in load_file(path)}
        assert held == {"metadata": {"total_size": 194}, "weight_map": places}
    found = stored_in(tmp_path)
    expected = {name: array for arrays in PARAMETERS for name, array in arrays.items()}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name].read(), array, strict=True)


def test_a_folder_with_a_model_is_not_written_to(tmp_path):
    write_shards(tmp_path / "new", PARAMETERS)
    with pytest.raises(ConfigurationError, match="holds a model already"):
        write_shards(tmp_path / "new", PARAMETERS)


def test_a_name_in_two_files_is_refused(tmp_path):
    write_shards(tmp_path, PARAMETERS, 1)
    first, second = sorted(tmp_path.glob("*.safetensors"))[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(DataError, match=r"holds b.scales, b.words in two files"):
        stored_in(tmp_path)
