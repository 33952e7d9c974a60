import json
import shutil

import pytest
from compressing import mixed, small

from dopt.compression.compress import How, compress
from dopt.compression.folder import load_compressed
from dopt.errors import ConfigurationError, DataError, SchemaError
from dopt.models import memory


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    compress(small(), How(mixed()), folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def test_a_copy_loads(folder):
    assert load_compressed(folder).name == "copy"


@pytest.mark.parametrize(
    "name",
    ["shards/layer-00001.safetensors", "shards/outside.safetensors", "tokenizer_scored.json"],
)
def test_cut_changed_and_absent_files_are_refused(folder, name):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=f"{path} is not as it was written .{len(content) - 1} of"):
        load_compressed(folder)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="is not as it was written"):
        load_compressed(folder)
    path.unlink()
    with pytest.raises(DataError, match="is not there"):
        load_compressed(folder)


def test_manifests_of_other_kinds(folder):
    path = folder / "dopt_compressed.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(SchemaError, match="has schema 99, this dopt reads up to 1: update dopt"):
        load_compressed(folder)
    path.write_text(json.dumps(manifest)[:-5])
    with pytest.raises(DataError, match="is cut or damaged"):
        load_compressed(folder)
    path.write_text("[]")
    with pytest.raises(DataError, match="no JSON object"):
        load_compressed(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"holds no dopt_compressed\.json; name another folder"):
        load_compressed(folder)


def test_too_little_memory(folder, monkeypatch):
    monkeypatch.setattr(memory, "_free", lambda: 5000)
    with pytest.raises(ConfigurationError, match=r"copy needs 0\.00 GiB, but"):
        load_compressed(folder)
