"""GGUF files, opened: their settings and their tensors, which stay on disk until they are read.

Needs the package `gguf` (extra `llm`), whose reader maps the file.

Format: ggml's docs/gguf.md.
"""

from pathlib import Path
from typing import Any

from dopt.errors import DataError
from dopt.models.packages import require


MAGIC = b"GGUF"


def open_gguf(path: Path) -> Any:
    """The `gguf.GGUFReader` of a file.

    Raises:
        DataError: the file cannot be read, is no GGUF file, or is cut or damaged.
        UnsupportedError: an absent package.
    """
    require("gguf")
    from gguf import GGUFReader

    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != MAGIC:
            raise DataError(
                f"{path} begins with {magic.hex() or 'nothing'}; a GGUF file begins with GGUF"
            )
        return GGUFReader(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path} is cut or damaged ({error}); fetch it again") from error


def setting(reader: Any, name: str, default: Any = None) -> Any:
    """A setting of the file.

    Raises:
        DataError: it is absent, and there is no default.
    """
    field = reader.get_field(name)
    if field is None and default is None:
        raise DataError(f"the setting {name} is absent")
    return default if field is None else field.contents()
