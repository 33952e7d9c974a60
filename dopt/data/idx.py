"""The idx format of MNIST: bytes 0, 0, element type, number of axes; big-endian sizes; elements."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dopt.errors import DataError


_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, *, axes: int) -> UInt8[np.ndarray, "..."]:
    """The array of unsigned bytes in an idx file, gzipped where the name ends in `.gz`.

    Args:
        path: the file.
        axes: how many axes the array must have.

    Raises:
        DataError: the file cannot be read, is cut, has bytes too many, or holds something else.
    """
    content = _content(path)
    magic = bytes([0, 0, _UNSIGNED_BYTE, axes])
    if content[:4] != magic:
        raise DataError(
            f"{path} begins with {content[:4].hex() or 'nothing'}; an idx file of unsigned bytes "
            f"with {axes} axes begins with {magic.hex()}"
        )
    header = 4 + 4 * axes
    if len(content) < header:
        raise DataError(f"{path} is cut: {len(content)} bytes, and its header alone takes {header}")
    shape = struct.unpack(f">{axes}I", content[4:header])
    expected = header + math.prod(shape)
    if len(content) != expected:
        fault = "is cut" if len(content) < expected else "has bytes too many"
        raise DataError(
            f"{path} {fault}: {len(content)} bytes, and its header promises {expected} "
            f"(shape {shape})"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except EOFError as error:
        raise DataError(f"{path} is cut: its gzip stream has no end") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is not a sound gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
