"""The bytes of a file that may be compressed; a stream without its end is an error."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dopt.errors import DataError


_FORMATS: dict[str, tuple[bytes, Callable[..., Any]]] = {
    ".bz2": (b"BZh", bz2.open),
    ".gz": (b"\x1f\x8b", gzip.open),
    ".xz": (b"\xfd7zXZ\x00", lzma.open),
}
"""By ending: how a stream begins, and what opens it."""


def read_whole(path: Path) -> bytes:
    """The content of a file, unpacked where it is bzip2, gzip or xz, whatever its name.

    Raises:
        DataError: it cannot be read, is named like a compressed file without being one, or its
            stream is damaged or cut.
    """
    try:
        content = path.read_bytes()
        for ending, (magic, opener) in _FORMATS.items():
            if content.startswith(magic):
                with opener(path) as file:
                    return file.read()
            if path.suffix == ending:
                raise DataError(
                    f"{path} is not {ending[1:]}: it begins with {content[:6].hex() or 'nothing'}; "
                    "fetch it again, or rename it if it is plain text"
                )
    except EOFError as error:
        raise DataError(
            f"{path} is cut: its compressed stream has no end; fetch it again"
        ) from error
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; fetch it again") from error
    except OSError as error:
        fault = f"cannot be read: {error.strerror}" if error.strerror else f"is damaged: {error}"
        raise DataError(f"{path} {fault}") from error
    return content
