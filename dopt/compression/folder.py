"""The folder of a compressed model: written layer by layer, and read in one call.

    dopt_compressed.json        what it is; written last, so that a folder without it is unfinished
    dopt_compressed.part.json   what it shall be; only in an unfinished folder
    shards/layer-00000.safetensors …    packed matrices, norms and biases of a layer
    shards/outside.safetensors  embedding, last norm, and the head where it is not tied
    shards/table-….safetensors  the grids, each once
    tokenizer…                  the tokenizer, see `tokenizer_file`

Each file appears under its name when it is whole and synced. `dopt_compressed.json` holds the size
and the SHA-256 of all others.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from dopt.compression import tokenizer_file
from dopt.compression.shards import read_shard
from dopt.errors import DataError, SchemaError
from dopt.models.config import Config, LinearScaling, Llama3Scaling, Scaling
from dopt.models.load import COMPRESSED, COMPRESSING, Loaded
from dopt.models.memory import check_free
from dopt.models.parameters import Model, Params


SCHEMA_VERSION = 1
OUTSIDE = "shards/outside.safetensors"

_SCALINGS: dict[str, type[Scaling]] = {"linear": LinearScaling, "llama3": Llama3Scaling}

Plan = dict[str, Any]
"""What decides every byte of the folder: source, configuration, settings, versions."""
Records = dict[str, dict[str, Any]]
"""What is known of each matrix, by its name."""


def layer_file(i: int) -> str:
    """The name of a layer's file."""
    return f"shards/layer-{i:05}.safetensors"


def table_file(name: str) -> str:
    """The name of a table's file."""
    return f"shards/{name}.safetensors"


def described_config(config: Config) -> dict[str, Any]:
    """A configuration in JSON; `config_of` reads it back."""
    values = dataclasses.asdict(config)
    for kind, scaling in _SCALINGS.items():
        if isinstance(config.scaling, scaling):
            values["scaling"]["kind"] = kind
    return values


def config_of(values: dict[str, Any]) -> Config:
    """The configuration that `described_config` was given."""
    scaling = values["scaling"]
    if scaling is not None:
        rest = {name: value for name, value in scaling.items() if name != "kind"}
        scaling = _SCALINGS[scaling["kind"]](**rest)
    return Config(**values | {"scaling": scaling})


def load_compressed(folder: str | Path) -> Loaded:
    """A compressed model, its matrices packed as they are stored, and its tokenizer.

    Every file is compared with its size and hash first.

    Raises:
        DataError: no such folder, an unfinished one, or a file that is absent, cut or changed.
        SchemaError: written by a newer version.
        ConfigurationError: it does not fit into memory.
        UnsupportedError: an absent package.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    _check_files(folder, manifest["files"])
    check_free(sum(mark["bytes"] for mark in manifest["files"].values()), str(folder))
    config = config_of(manifest["plan"]["config"])
    table = tables_of(folder)
    params: Params = read_shard(folder / OUTSIDE, table)
    params["layers"] = [read_shard(folder / layer_file(i), table) for i in range(config.layers)]
    tokenizer = None
    if (described := manifest["tokenizer"]) is not None:
        tokenizer = tokenizer_file.read(described, (folder / described["file"]).read_bytes())
    return Loaded(Model(params, config), tokenizer, folder.resolve().name, manifest["note"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `dopt_compressed.json` says; raises as `load_compressed` does."""
    manifest = read_json(folder / COMPRESSED)
    if manifest is None:
        begun = (folder / COMPRESSING).exists()
        remedy = "its compression did not end: run it again" if begun else "name another folder"
        raise DataError(f"{folder} holds no {COMPRESSED}; {remedy}")
    version = manifest.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise SchemaError(
            f"{folder} has schema {version}, this dopt reads up to {SCHEMA_VERSION}: update dopt"
        )
    return manifest


def _check_files(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, mark in files.items():
        path = folder / name
        if not path.exists():
            raise DataError(f"{path} is not there; copy the folder again, or compress anew")
        if mark_of(path) != mark:
            raise DataError(
                f"{path} is not as it was written ({path.stat().st_size} of {mark['bytes']} "
                "bytes); copy the folder again, or compress anew"
            )


def mark_of(path: Path) -> dict[str, Any]:
    """The size and the hash of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def tables_of(folder: Path) -> Callable[[str], Any]:
    """Gives the table of a name, which is read once, so that all matrices share it."""
    return cache(lambda name: read_shard(folder / table_file(name), str)["points"])


def read_json(path: Path) -> dict[str, Any] | None:
    """What a file of JSON says; None where there is no file.

    Raises:
        DataError: it cannot be read, or holds no object.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is cut or damaged ({error}); compress the model again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no JSON object; compress the model again")
    return found
