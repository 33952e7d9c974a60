"""What `dopt compress` and `dopt compare` can be told. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Compression:
    """What both commands can be told besides."""

    group: int | None = None
    """Only settings with scales for so many weights of a row; by default what is best."""
    outside: Literal["float16", "bfloat16", "float32"] = "float16"
    """Of embedding and head, which are not quantized; norms stay float32."""
    calibrate: tuple[Path, ...] = ()
    """Text files for methods that need the inputs of the layers (gptq, higgs-gptq)."""
    calibration_windows: int = 32
    """Windows of these texts."""
    calibration_length: int = 512
    """Tokens of each of them."""
    alpha: Literal["random", "text"] = "random"
    """With --dynamic, the tokens on which α is measured: random ones, which need no data, or those
    of --alpha-text."""
    alpha_text: tuple[Path, ...] = ()
    """Text files for --alpha text."""
    alpha_windows: int = 4
    """Windows on which α is measured."""
    alpha_length: int = 128
    """Tokens of each of them."""
    estimate: Literal["gradients", "noise"] = "gradients"
    """How α is measured. gradients: from a few backward passes, the limit of small noise; for KL.
    noise: Gaussian noise in one matrix after another, as in the paper, which takes many times as
    long (said beforehand) and sees that lines bend."""
    levels: tuple[float, ...] = (0.01, 0.04)
    """t² of the noise."""
    draws: int = 1
    """Of noise at each level; with --estimate gradients, samples of each window."""
    together: Literal["matrix", "input", "layer"] = "matrix"
    """What gets noise at once and so has one α: a matrix; those of one input (q, k, v; gate, up);
    a layer. Fewer are faster."""
    seed: int = 0
    """Of random tokens, noise, samples and places of windows."""
    quiet: bool = False
    """No progress, only the results."""


@dataclass(frozen=True)
class Compress:
    """Compress a language model to a number of bits a weight, into a folder.

    The budget is exact and counts all that is stored of the layers' matrices, scales included.
    Without --dynamic matrices of one shape get the same settings. With it each gets its own: α, how
    much the loss grows with the error of a matrix, is measured first, then Σ α·t² is made least.
    The folder loads as any model does, stays packed in memory, and goes through `dopt evaluate`,
    `dopt model run` and `dopt compare`.

    Ctrl-C, or a kill, keeps the layers that are finished; the same command again goes on and writes
    the same bytes.

      dopt compress smollm2-135m --bits 4.25 --out small
      dopt compress smollm2-135m --bits 3.25 --dynamic --out smaller
      dopt compress smollm2-135m --method gptq --bits 4.25 --calibrate text.txt --out calibrated
    """

    model: tyro.conf.Positional[str]
    """A known model's name, a GGUF file, a checkpoint of llama2.c, or a folder."""
    out: Path
    """The folder of the compressed model; one that was begun with the same settings is gone on
    with."""
    method: str = "higgs"
    """higgs, higgs-gptq, gptq, gptq-act, rtn, rtn-clip, rtn-asym, rtn-asym-clip, nf4, af4, fp4,
    mxfp4, fp8 or hqq."""
    bits: float = 4.25
    """A weight at most, on average over the matrices of the layers."""
    dynamic: bool = False
    """Spend the budget where it matters."""
    metric: Literal["kl", "perplexity"] = "kl"
    """The loss of --dynamic. Perplexity changes in first order with the error of a grid, which is
    printed, and noise does not see; KL does not."""
    p: int | None = None
    """With HIGGS, only grids of this dimension (1 to 4); by default what is best."""
    compression: Annotated[Compression, tyro.conf.arg(name="")] = Compression()


@dataclass(frozen=True)
class Compare:
    """Compress a model by several methods at the same budgets, and measure all on the same text.

    A row for every method and budget: exact bits a weight over the matrices, perplexity, KL
    divergence from the original a token, the difference in KL to the first method of the budget,
    seconds, and size on disk. Errors behind ± are standard errors over windows, of differences over
    pairs of windows. Rows are kept in --out: one that is there is not computed again.

      dopt compare smollm2-135m --methods higgs nf4 rtn --bits 4.25 3.25 --text text.txt
    """

    model: tyro.conf.Positional[str]
    """A known model's name, a GGUF file, a checkpoint of llama2.c, or a folder."""
    text: tuple[Path, ...]
    """Text files to measure on."""
    methods: tuple[str, ...] = ("higgs", "nf4", "rtn")
    """See `dopt compress --help`."""
    bits: tuple[float, ...] = (4.25, 3.25)
    """Budgets, bits a weight."""
    dynamic: bool = False
    """Every method with a budget spent where it matters, too."""
    p: tuple[int, ...] = ()
    """With HIGGS, a row for each of these dimensions of its grids; by default one, of the best."""
    window: int = 512
    """Tokens of a window."""
    windows: int | None = 16
    """Only the first so many windows."""
    out: Path = Path("compare")
    """Folder of the results."""
    compression: Annotated[Compression, tyro.conf.arg(name="")] = Compression()
