"""A safetensors file, of which one array at a time is read, so that no second copy is resident.

The file has the length of its header (uint64), the header, which is JSON and names dtype, shape and
place of every array, and the arrays.

Format: huggingface/safetensors, README.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from dopt.errors import DataError
from dopt.models.stored import DTYPES, Stored


_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 10**8
_METADATA = "__metadata__"


def stored_arrays(path: Path) -> dict[str, Stored]:
    """The arrays of a file, none of them read.

    Raises:
        DataError: the file cannot be read, is cut, or its header is not what it should be.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            front = file.read(_LENGTH.size)
            length = _LENGTH.unpack(front)[0] if len(front) == _LENGTH.size else size
            header = file.read(length) if length <= min(size, _LONGEST_HEADER) else b""
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        entries = json.loads(header)
        entries.pop(_METADATA, None)
        found = {name: _stored(path, _LENGTH.size + length, entries[name]) for name in entries}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is cut or damaged ({error}); fetch it again") from error
    # Arrays follow each other without gaps.
    end = _LENGTH.size + length
    for array in sorted(found.values(), key=lambda array: (array.start, array.size)):
        if array.start != end:
            raise DataError(f"{path} is cut or damaged (a gap at byte {end}); fetch it again")
        end += array.size
    if end != size:
        raise DataError(
            f"{path} is cut or damaged: {size} bytes, and its header promises {end}; fetch it again"
        )
    return found


def _stored(path: Path, base: int, entry: dict[str, Any]) -> Stored:
    dtype, shape = str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
    begin, end = (int(offset) for offset in entry["data_offsets"])
    if min((0, begin, end - begin, *shape)) < 0:
        raise ValueError("a negative size")
    if dtype in DTYPES and end - begin != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
        raise ValueError(f"{shape} of {dtype} in {end - begin} bytes")
    return Stored(path, dtype, shape, base + begin, end - begin)
