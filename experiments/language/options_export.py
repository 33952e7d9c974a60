"""What `dopt export` can be told. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class Export:
    """Write a model as files that other tools read.

    compressed-tensors: integers of 2 to 8 bits, with zeros or without, and FP8, as vLLM and
    transformers read them. gptq: integers of 2, 3, 4 or 8 bits, as GPTQModel reads them.
    hugging-face: nothing packed, every matrix written out in float32.

    The first two hold what --method rtn, rtn-clip, rtn-asym, rtn-asym-clip, gptq, gptq-act or fp8
    (compressed-tensors) made. Rotated grids and tables, such as those of higgs and nf4, are in no
    format that others read: they are refused, and can be written out as hugging-face.

      dopt compress smollm2-135m --method gptq --bits 4.25 --calibrate text.txt --out small
      dopt export small --format gptq --out for-others
    """

    model: tyro.conf.Positional[str]
    """A folder that `dopt compress` wrote, or any other model."""
    out: Path
    """A new folder."""
    format: Literal["compressed-tensors", "gptq", "hugging-face"] = "compressed-tensors"
    """Of the files."""
