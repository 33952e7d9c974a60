"""How fast products with packed weights are, beside two rivals, in interleaved pairs.

The rivals are the product with the float32 matrix, and dequantizing the whole matrix before that
product. Printed are milliseconds, and how many times as fast the packed product is, with 95 %
intervals. The matrices have the shapes of SmolLM2-135M; a float32 matrix of them fits a processor's
cache, while those of a whole model come from memory, so that the first ratio is the least
favourable that there is.

    python -m experiments.benchmarks.packed_weights [--pairs 15] [--rows 1 8 512]
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from compressors.weights import HIGGS, RoundToNearest, WeightQuantizer
from experiments.benchmarks.machine import machine
from experiments.benchmarks.pairs import PAIRS, Ratio, ratio


SHAPES = ((576, 576), (192, 576), (1536, 576), (576, 1536))
FORMATS: dict[str, WeightQuantizer] = {
    "p=1 n=16": HIGGS(1, 16),
    "p=2 n=256": HIGGS(2, 256),
    "p=2 n=64": HIGGS(2, 64),
    "p=1 n=19": HIGGS(1, 19),
    "p=2 n=84": HIGGS(2, 84),
    "int4 g=64": RoundToNearest(4, 64, symmetric=False),
    "int8": RoundToNearest(8),
}


class Row(NamedTuple):
    """One product: its median milliseconds, and the ratios of the rivals to it."""

    format: str
    shape: tuple[int, int]
    rows: int
    milliseconds: float
    of_float32: Ratio
    of_dequantizing: Ratio


def measure(name: str, shape: tuple[int, int], rows: int, pairs: int) -> Row:
    """Times a format and its rivals in turns, all compiled before."""
    rng = np.random.default_rng(0)
    W = jnp.asarray(rng.normal(size=shape), jnp.float32)
    x = jnp.asarray(rng.normal(size=(rows, shape[1])), jnp.float32)
    weight = FORMATS[name].quantize(W).weight
    packed, dense, unpacked = jax.jit(lambda w, x: w.times(x)), jax.jit(_product), jax.jit(_after)
    calls = [partial(packed, weight, x), partial(dense, W, x), partial(unpacked, weight, x)]
    for call in calls:
        jax.block_until_ready(call())
    seconds = np.array([[_seconds(call) for call in calls] for _ in range(pairs)])
    ours, float32, dequantizing = seconds.T
    middle = float(np.median(ours)) * 1e3
    return Row(name, shape, rows, middle, ratio(ours, float32), ratio(ours, dequantizing))


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help=f"of timings, {PAIRS} or more")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 512], help="of activations")
    given = parser.parse_args(arguments)
    if given.pairs < PAIRS:
        parser.error(f"--pairs {given.pairs}: give {PAIRS} or more")
    for line in _lines(given.rows, given.pairs):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _lines(rows: list[int], pairs: int) -> Iterator[str]:
    yield "  ".join(f"{name} {value}" for name, value in machine().items())
    yield f"{'format':10}  {'shape':>11}  rows      ms  {'float32':>20}  {'dequantizing':>20}"
    for shape in SHAPES:
        for count in rows:
            for name in FORMATS:
                row = measure(name, shape, count, pairs)
                size = f"{shape[0]}x{shape[1]}"
                rivals = f"{_text(row.of_float32):>20}  {_text(row.of_dequantizing):>20}"
                yield f"{name:10}  {size:>11}  {count:4}  {row.milliseconds:6.2f}  {rivals}"


def _text(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _product(W: Array, x: Array) -> Array:
    return jnp.matmul(x, W.T, precision=jax.lax.Precision.HIGHEST)


def _after(weight: Any, x: Array) -> Array:
    # Without a barrier XLA would be free to fuse the two steps.
    return _product(jax.lax.optimization_barrier(weight.dequantize()), x)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
