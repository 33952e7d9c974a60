"""Tensors of safetensors files, mapped: also those of dtypes that numpy has no name for.

A file is 8 bytes, the length of the header; the header, a JSON object of names with their dtype,
shape and place behind it; and the numbers, little-endian, row by row.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dopt.errors import DataError


DTYPES: dict[str, Any] = {
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "F32": np.float32,
    "F8_E4M3": jnp.float8_e4m3fn,
    "I32": np.int32,
    "I64": np.int64,
}
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class StoredTensor(NamedTuple):
    """Where a tensor lies."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int

    def array(self) -> np.ndarray:
        """The tensor, mapped from the file; it has a dtype of `DTYPES`.

        Raises:
            DataError: as many bytes do not make its shape.
        """
        dtype = np.dtype(DTYPES[self.dtype])
        if self.nbytes != math.prod(self.shape) * dtype.itemsize:
            raise DataError(
                f"{self.path}: {self.nbytes} bytes for {self.shape} numbers of {dtype}; fetch it "
                "again"
            )
        mapped = np.memmap(self.path, np.uint8, "r", self.start, (self.nbytes,))
        return np.asarray(mapped).view(dtype).reshape(self.shape)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of the model in a folder, by name; none is read.

    Raises:
        DataError: files are absent or cut, or hold a name twice.
    """
    found: dict[str, StoredTensor] = {}
    for path in _files(folder):
        for name, tensor in _tensors(path).items():
            if name in found:
                raise DataError(f"{folder} holds {name} in two files; fetch the model again")
            found[name] = tensor
    return found


def _files(folder: Path) -> list[Path]:
    if (folder / _SINGLE).exists():
        return [folder / _SINGLE]
    try:
        names = set(json.loads((folder / _INDEX).read_bytes())["weight_map"].values())
    except OSError as error:
        raise DataError(f"{folder} holds neither {_SINGLE} nor {_INDEX}; fetch them") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder / _INDEX} is no index of shards; fetch it again") from error
    paths = [folder / str(name) for name in sorted(names)]
    for path in paths:
        if path.parent != folder or not path.exists():
            raise DataError(f"{path}, which {_INDEX} names, is not there; fetch it")
    return paths


def _tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file, which ends where the last of them does."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            header: Any = json.loads(file.read(start - 8)) if start <= size else None
        header.pop("__metadata__", None)
        tensors = {name: _tensor(path, start, **entry) for name, entry in header.items()}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is cut or damaged ({error}); fetch it again") from error
    end = max((tensor.start + tensor.nbytes for tensor in tensors.values()), default=start)
    if size != end:
        raise DataError(f"{path} has {size} bytes, but its header says {end}; fetch it again")
    return tensors


def _tensor(
    path: Path, start: int, dtype: str, shape: list[int], data_offsets: list[int]
) -> StoredTensor:
    first, end = data_offsets
    return StoredTensor(path, dtype, tuple(shape), start + first, end - first)
