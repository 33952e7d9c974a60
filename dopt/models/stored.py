"""An array that lies in a file, and is read when it is wanted.

It is read, not memory-mapped: pages of a map would be resident beside the parameters that are made
of them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dopt.errors import DataError


FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16}
"""What parameters may be, by the names that safetensors gives."""

DTYPES = FLOATS | {"F8_E4M3": jnp.float8_e4m3fn, "I32": np.int32, "I64": np.int64}
"""What is read: also what quantized parameters consist of."""


class Stored(NamedTuple):
    """Where an array lies; little-endian."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int
    """Bytes."""

    def read(self) -> np.ndarray:
        """The array, which must be of one of `DTYPES`.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            content = np.fromfile(self.path, np.uint8, self.size, offset=self.start)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from error
        return content.view(DTYPES[self.dtype]).reshape(self.shape)


def some_of(names: Iterable[str]) -> str:
    """A few names for a message, and how many more there are."""
    ordered = sorted(names)
    rest = len(ordered) - 3
    return ", ".join(ordered[:3]) + (f" and {rest} more" if rest > 0 else "")
