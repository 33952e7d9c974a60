"""What a quantization scheme of files is: how a matrix [out, in] lies in them."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from compressors.weights import PackedWeight


FLOATS = ("F16", "BF16", "F32")
"""Names of safetensors for the dtypes of scales and of what is not quantized."""


class Tensor(NamedTuple):
    """What a file says of a tensor."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...]
    """Those that are read, in the names of safetensors."""


@dataclass(frozen=True)
class Scheme(abc.ABC):
    """How files hold a matrix: in several tensors, each named by the end of its name.

    Attributes:
        group: inputs that share a scale; None: a row.
    """

    group: int | None

    @abc.abstractmethod
    def tensors(self, out: int, inputs: int) -> dict[str, Tensor]:
        """What holds a matrix [out, in]."""

    @abc.abstractmethod
    def write(self, weight: PackedWeight) -> dict[str, np.ndarray]:
        """The tensors of a matrix.

        Raises:
            UnsupportedError: the scheme cannot hold it.
        """

    @abc.abstractmethod
    def read(self, arrays: Mapping[str, np.ndarray], out: int, inputs: int) -> PackedWeight:
        """The matrix in such tensors.

        Raises:
            DataError: values that no matrix has.
        """
