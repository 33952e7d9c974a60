"""Safetensors files of packed and plain arrays, with records in their header."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from compressors.weights.packed import PackedWeight
from dopt.compression.packed_file import Arrays, flattened, plain, restored
from dopt.errors import DataError
from dopt.models.packages import require


_RECORDS = "dopt"
"""The one key of the header's metadata: the order of several would be left to chance."""


class Shard(NamedTuple):
    """What a file holds.

    Attributes:
        arrays: by name.
        records: what is to be known of each leaf, in JSON.
    """

    arrays: Arrays
    records: str

    def save(self, path: Path) -> None:
        """Writes the file; an array at a time is held once more.

        Raises:
            UnsupportedError: an absent package.
        """
        require("safetensors")
        from safetensors.numpy import save_file

        save_file(self.arrays, path, {_RECORDS: self.records})


def shard_of(
    leaves: dict[str, Any], records: dict[str, dict[str, Any]]
) -> tuple[Shard, dict[str, Arrays]]:
    """What a file of the leaves holds, and the tables that it needs, by name.

    Args:
        leaves: packed weights and arrays.
        records: what is to be known of some of them; "bits" and "format" are added for all.
    """
    arrays: Arrays = {}
    told: dict[str, Any] = {}
    tables: dict[str, Arrays] = {}
    for name, leaf in leaves.items():
        if isinstance(leaf, PackedWeight):
            parts, described, needed = flattened(name, leaf)
            tables |= {key: {"points": table} for key, table in needed.items()}
            bits = leaf.nbits
        else:
            array = np.asarray(leaf)
            parts, described = {name: plain(array)}, {"dtype": array.dtype.name}
            bits = 8 * array.nbytes
        arrays |= parts
        told[name] = records.get(name, {}) | {"bits": bits, "format": described}
    return Shard(arrays, json.dumps(told)), tables


def read_shard(path: Path, table: Callable[[str], Any]) -> dict[str, Any]:
    """The leaves of a file; arrays are mapped, and copied once.

    Args:
        path: of the file.
        table: gives the table of a name.

    Raises:
        DataError: the file is absent, cut, or no shard of ours.
        UnsupportedError: an absent package.
    """
    with _opened(path) as file:
        return {
            name: _leaf(name, record["format"], file.get_tensor, table)
            for name, record in _records(file).items()
        }


def read_records(path: Path) -> dict[str, dict[str, Any]]:
    """The records of a file; raises as `read_shard` does."""
    with _opened(path) as file:
        return _records(file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require("safetensors")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is cut or damaged ({error}); compress the model again") from error


def _records(file: Any) -> dict[str, dict[str, Any]]:
    records: dict[str, dict[str, Any]] = json.loads(file.metadata()[_RECORDS])
    return records


def _leaf(
    name: str,
    described: dict[str, Any],
    read: Callable[[str], np.ndarray],
    table: Callable[[str], Any],
) -> Any:
    if "dtype" in described:
        return jnp.asarray(read(name).view(jnp.dtype(described["dtype"])))
    return restored(name, described, read, table)
