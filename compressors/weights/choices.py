"""A quantizer by its name and by how many bits a weight may cost."""

import functools
import math
from collections.abc import Callable

import numpy as np

from compressors.grids import Grid, absmax_error, fp4, integer, minmax_error, shipped_sizes
from compressors.grids.scalar import scalar_mse
from compressors.weights.clipping import Clipping
from compressors.weights.codebooks import AF4, FP4, NF4, Quantiles
from compressors.weights.e2m1 import VALUES
from compressors.weights.float8 import FP8, LARGEST
from compressors.weights.gptq import GPTQ
from compressors.weights.higgs import HIGGS
from compressors.weights.hqq import HQQ
from compressors.weights.integers import FEWEST, MOST
from compressors.weights.microscaling import GROUP, LARGEST_EXPONENT, MXFP4
from compressors.weights.quantizer import WeightQuantizer
from compressors.weights.round_to_nearest import RoundToNearest


BITS = range(FEWEST, MOST + 1)
SMALLEST_GROUP = 16
SCALAR_SIZES = (*range(2, 17), 19, 22, 25, 32, 45, 64, 90, 128, 181, 256)
"""Points of the grids of p = 1 that are tried."""
SHIFTS = 8
"""Standard deviations between two powers of two, over which the error of MXFP4 is averaged."""


def _groups(inputs: int) -> list[int]:
    sizes = [size for size in range(SMALLEST_GROUP, inputs) if inputs % size == 0]
    return [*sizes, inputs]


def _integers(
    make: Callable[[int, int], WeightQuantizer],
) -> Callable[[int], list[WeightQuantizer]]:
    return lambda inputs: [make(bits, group) for bits in BITS for group in _groups(inputs)]


def _floats(make: Callable[[int], WeightQuantizer]) -> Callable[[int], list[WeightQuantizer]]:
    return lambda inputs: [make(group) for group in _groups(inputs)]


def _higgs(inputs: int, *, error_feedback: bool) -> list[WeightQuantizer]:
    grids = [(1, n) for n in SCALAR_SIZES] + [(p, n) for p in (2, 3, 4) for n in shipped_sizes(p)]
    return [HIGGS(p, n, error_feedback=error_feedback) for p, n in grids]


METHODS: dict[str, Callable[[int], list[WeightQuantizer]]] = {
    "rtn": _integers(RoundToNearest),
    "rtn-clip": _integers(lambda bits, group: RoundToNearest(bits, group, clip=Clipping())),
    "rtn-asym": _integers(lambda bits, group: RoundToNearest(bits, group, symmetric=False)),
    "rtn-asym-clip": _integers(
        lambda bits, group: RoundToNearest(bits, group, symmetric=False, clip=Clipping())
    ),
    "nf4": _floats(NF4),
    "af4": _floats(AF4),
    "fp4": _floats(FP4),
    "mxfp4": lambda inputs: [] if inputs % GROUP else [MXFP4()],
    "fp8": lambda inputs: [FP8()],
    "hqq": _integers(HQQ),
    "gptq": _integers(GPTQ),
    "gptq-act": _integers(
        lambda bits, group: GPTQ(bits, group, act_order=True, static_groups=True)
    ),
    "higgs": functools.partial(_higgs, error_feedback=False),
    "higgs-gptq": functools.partial(_higgs, error_feedback=True),
}
"""By their names in the command line: from the inputs of a layer to all settings that fit it."""


def candidates(
    name: str,
    out: int,
    inputs: int,
    wanted: Callable[[WeightQuantizer], bool] = lambda how: True,
) -> list[WeightQuantizer]:
    """The settings of a method for a matrix [out, in], none beaten in both bits and error.

    By rising bits and falling expected error. Empty where the method does not fit the matrix.

    Args:
        name: of the method, one of `METHODS`.
        out: outputs of the matrix.
        inputs: of the matrix.
        wanted: which settings are asked for; all by default.

    Raises:
        ValueError: an unknown name.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r}: give one of {', '.join(METHODS)}")
    settings = filter(wanted, METHODS[name](inputs))
    order = sorted(settings, key=lambda how: (how.nbits(out, inputs), expected_error(how, inputs)))
    front: list[WeightQuantizer] = []
    least = np.inf
    for how in order:
        error = expected_error(how, inputs)
        if error < least:
            front.append(how)
            least = error
    return front


def quantizer_of(name: str, bits: float, out: int, inputs: int) -> WeightQuantizer:
    """The settings of a method with the least expected error that fit a budget.

    Args:
        name: of the method, one of `METHODS`.
        bits: a weight at most, scales, zeros and the filling of words counted.
        out: outputs of the matrix.
        inputs: of the matrix.

    Raises:
        ValueError: an unknown name, or a budget that no setting meets.
    """
    front = candidates(name, out, inputs)
    budgets = [how.nbits(out, inputs) / (out * inputs) for how in front]
    fitting = [how for how, budget in zip(front, budgets, strict=True) if budget <= bits]
    if fitting:
        return fitting[-1]
    listed = ", ".join(f"{math.ceil(1000 * budget) / 1000:g}" for budget in budgets[:8])
    remedy = f"give one of {listed}, or more" if budgets else "take another method"
    raise ValueError(
        f"{name} has nothing for a matrix [{out}, {inputs}] at {bits:g} bits a weight: {remedy}"
    )


@functools.cache
def expected_error(quantizer: WeightQuantizer, inputs: int = 1024) -> float:
    """t² on weights that are independent normal variables, in closed form or by quadrature.

    GPTQ and HIGGS with error feedback have the error without it, which is what H = I gives. HQQ and
    a search for the range have that of what they start from: at 3 and 4 bits and groups of 64, they
    come to 8 and 14 to 18 % less. HIGGS has that of its grid, up to a twentieth too large for
    groups of 64.

    Args:
        quantizer: the settings.
        inputs: of the matrix, where a row is a group.

    Raises:
        ValueError: the quantizer is none of those in `METHODS`.
    """
    match quantizer:
        case HIGGS():
            mse = quantizer.points.mse
            return mse / (1 - mse) if quantizer.unbiased else mse
        case RoundToNearest() | GPTQ():
            integers = quantizer.bits, quantizer.symmetric, quantizer.divisor
            return _integer_error(*integers, quantizer.group or inputs)
        case HQQ():
            return minmax_error(1 << quantizer.bits, quantizer.group or inputs, whole=False)
        case Quantiles():
            return absmax_error(quantizer.grid, quantizer.group or inputs)
        case FP4():
            return absmax_error(fp4(), quantizer.group or inputs)
        case MXFP4():
            return _microscaling_error()
        case FP8():
            return absmax_error(_grid(quantizer.table / LARGEST), inputs)
    raise ValueError(f"no expected error of {quantizer!r} is known: measure it on normal weights")


@functools.cache
def _integer_error(bits: int, symmetric: bool, divisor: float | None, group: int) -> float:
    if not symmetric:
        return minmax_error(1 << bits, group)
    return absmax_error(integer(bits, ((1 << bits) - 1) / 2 if divisor is None else divisor), group)


@functools.cache
def _microscaling_error() -> float:
    """The mean over the place of the standard deviation between two powers of two."""

    def power(most: np.ndarray, shift: float) -> np.ndarray:
        return 2.0 ** (np.floor(np.log2(most) + shift) - LARGEST_EXPONENT - shift)

    grid = _grid(VALUES)
    shifts = (np.arange(SHIFTS) + 0.5) / SHIFTS
    errors = [absmax_error(grid, GROUP, functools.partial(power, shift=s)) for s in shifts]
    return float(np.mean(errors))


def _grid(values: np.ndarray) -> Grid:
    """Of the distinct finite values of a format."""
    line = np.unique(values[np.isfinite(values)].astype(np.float64))
    return Grid(line[:, None], scalar_mse(line))
