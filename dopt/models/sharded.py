"""Named arrays in one safetensors file, or in several with an index, as Hugging Face lays them.

Writing needs the package `safetensors` (extra `llm`). Each file appears under its name when it is
whole, and all of them together, since their names tell how many there are.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from dopt.errors import ConfigurationError, DataError
from dopt.models.packages import require
from dopt.models.safetensors_file import stored_arrays
from dopt.models.stored import Stored, some_of


SHARD_BYTES = 5 * 10**9
"""What a file holds at most, unless one parameter is larger."""

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def write_shards(
    folder: Path, parameters: Iterable[Mapping[str, np.ndarray]], most: int = SHARD_BYTES
) -> None:
    """Writes arrays in their order; those of a file are held at once.

    Args:
        folder: to be made, or without a model.
        parameters: the arrays of each parameter by name, which come to one file.
        most: bytes of a file.

    Raises:
        ConfigurationError: the folder holds a model already.
        UnsupportedError: an absent package.
    """
    require("safetensors")
    from safetensors.numpy import save_file

    if folder.is_dir() and any(folder.glob("*.safetensors*")):
        raise ConfigurationError(f"{folder} holds a model already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    shards: list[list[str]] = []
    total = 0
    for shard in _shards(parameters, most):
        parts.append(folder / f"model-{len(parts) + 1:05}.part")
        save_file(shard, parts[-1], metadata={"format": "pt"})
        shards.append(list(shard))
        total += sum(array.nbytes for array in shard.values())
    names = [f"model-{i + 1:05}-of-{len(parts):05}.safetensors" for i in range(len(parts))]
    names = [_SINGLE] if len(parts) == 1 else names
    for part, name in zip(parts, names, strict=True):
        part.rename(folder / name)
    if len(parts) > 1:
        places = {array: name for name, shard in zip(names, shards, strict=True) for array in shard}
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (folder / _INDEX).write_text(json.dumps(index, indent=2))


def stored_in(folder: Path) -> dict[str, Stored]:
    """The arrays of a model in one file or in shards, by name; none is read.

    Raises:
        DataError: files are absent, cut or damaged, or hold a name twice.
    """
    found: dict[str, Stored] = {}
    for path in _paths(folder):
        arrays = stored_arrays(path)
        if twice := found.keys() & arrays.keys():
            raise DataError(f"{folder} holds {some_of(twice)} in two files; fetch the model again")
        found |= arrays
    return found


def _shards(
    parameters: Iterable[Mapping[str, np.ndarray]], most: int
) -> Iterator[dict[str, np.ndarray]]:
    """Parameters in their order, as many a shard as fit; one that is larger is alone."""
    shard: dict[str, np.ndarray] = {}
    held = 0
    for arrays in parameters:
        size = sum(array.nbytes for array in arrays.values())
        if shard and held + size > most:
            yield shard
            shard, held = {}, 0
        shard |= {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        held += size
    yield shard


def _paths(folder: Path) -> list[Path]:
    if (folder / _SINGLE).exists():
        return [folder / _SINGLE]
    index = folder / _INDEX
    if not index.exists():
        raise DataError(f"{folder} holds neither {_SINGLE} nor {_INDEX}; name a model's folder")
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index} is no index of shards; fetch it again") from error
    paths = [folder / str(name) for name in sorted(names)]
    for path in paths:
        if path.parent != folder or not path.exists():
            raise DataError(f"{path}, which {_INDEX} names, is not there; fetch it")
    return paths
