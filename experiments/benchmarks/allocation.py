"""How fast rules spend a budget on the layers of ResNet-18, and how well, beside two rivals.

The rivals are the dynamic programme that one would write in numpy, and the exact optimum by SciPy's
solver of mixed-integer programmes (HiGHS). All run on one core, in turns; ours are compiled before.
With `--compress` whole compressions follow: how long they compile, and how long they run.

    python -m experiments.benchmarks.allocation [--compress]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from compressors import (
    Budgeted,
    ErrorAxis,
    Knapsack,
    Lagrangian,
    MinimalBits,
    TopKLadder,
    Uniform,
)
from compressors.allocation import Allocation
from experiments.benchmarks.machine import machine
from experiments.benchmarks.pairs import PAIRS


LADDER = TopKLadder(tuple(np.geomspace(1e-3, 1, 20).tolist()))
STEPS = 1000
SHARES = (0.01, 0.05, 0.2)
"""Budgets, in shares of the dense message."""

RULES: dict[str, Allocation] = {
    "Uniform": Uniform(),
    "Knapsack": Knapsack(STEPS),
    "ErrorAxis": ErrorAxis(STEPS),
    "Lagrangian": Lagrangian(),
}

SOLVER_SECONDS = 20.0
"""What the solver may take; the gap that it leaves is printed."""

Choice = Callable[[], Any]


def resnet18() -> list[tuple[int, ...]]:
    """The arrays of ResNet-18 for 32 × 32 images: convolutions, scales and shifts, a last layer."""
    shapes: list[tuple[int, ...]] = [(3, 3, 3, 64), (64,), (64,)]
    before = 64
    for width in (64, 128, 256, 512):
        for _ in range(2):
            shapes += [(3, 3, before, width), (width,), (width,)]
            shapes += [(3, 3, width, width), (width,), (width,)]
            if before != width:
                shapes += [(1, 1, before, width), (width,), (width,)]
            before = width
    return [*shapes, (512, 10), (10,)]


def sender(allocation: Allocation) -> Budgeted:
    """ResNet-18 in layers, TopK at 20 ratios for each."""
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in resnet18()]
    return Budgeted.like(shapes, lambda leaf: LADDER, allocation)


def heavy_tailed(sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Layers of Student's t with three degrees of freedom, some of them ten times the others."""
    rng = np.random.default_rng(0)
    return [rng.standard_t(3, size) * 10 ** rng.normal(0, 0.5) for size in sizes]


def tails(layers: list[np.ndarray]) -> np.ndarray:
    """TopK's error of every layer at every ratio, in float64."""
    rows = []
    for layer in layers:
        lost = np.append(np.cumsum(np.sort(layer**2)), 0)
        members = [LADDER.member(rung, len(layer)) for rung in range(LADDER.rungs)]
        kept = [getattr(member, "K", len(layer)) for member in members]
        rows.append([lost[len(layer) - K - 1] for K in kept])
    return np.asarray(rows)


def numpy_knapsack(errors: np.ndarray, bits: np.ndarray, budget: int) -> np.ndarray:
    """The dynamic programme over the budget, a rung of a layer at a time."""
    unit = (budget - bits[:, 0].sum()) / STEPS
    costs = np.ceil((bits - bits[:, :1]) / unit).astype(int)
    best = np.zeros(STEPS + 1)
    choices: list[np.ndarray] = []
    for error, cost in zip(errors, costs, strict=True):
        least, choice = np.full(STEPS + 1, np.inf), np.zeros(STEPS + 1, int)
        for rung, units in enumerate(cost):
            if units <= STEPS:
                reached = best[: STEPS + 1 - units] + error[rung]
                lower = reached < least[units:]
                least[units:][lower] = reached[lower]
                choice[units:][lower] = rung
        best = least
        choices.append(choice)
    rungs, left = np.zeros(len(bits), int), STEPS
    for layer in reversed(range(len(bits))):
        rungs[layer] = choices[layer][left]
        left -= costs[layer, rungs[layer]]
    return rungs


def optimum(errors: np.ndarray, bits: np.ndarray, budget: int) -> tuple[float, float]:
    """The least error on the costs as they are, and the relative gap that the solver leaves."""
    from scipy.optimize import LinearConstraint, milp

    L, R = errors.shape
    answer = milp(
        errors.ravel() / errors.sum(),
        integrality=1,
        bounds=(0, 1),
        constraints=[
            LinearConstraint(np.kron(np.eye(L), np.ones(R)), 1, 1),
            LinearConstraint(bits.reshape(1, -1) / budget, -np.inf, 1),
        ],
        options={"time_limit": SOLVER_SECONDS, "mip_rel_gap": 1e-6},
    )
    return float(answer.fun) * errors.sum(), float(answer.mip_gap)


def compare(out: Callable[[str], None]) -> None:
    """A table for every budget."""
    table = sender(Uniform()).table(jnp.float32)
    errors = tails(heavy_tailed(sender(Uniform()).sizes))
    on_device = jnp.asarray(errors, jnp.float32), jnp.asarray(table, jnp.int32)
    layers = np.arange(len(table))
    for share in SHARES:
        budget = int(share * table[:, -1].sum())
        uniform = np.asarray(Uniform().choose(None, on_device[1], jnp.asarray(budget, jnp.int32)))
        fewest = MinimalBits(int(uniform[0]), STEPS)
        calls: dict[str, Choice] = {
            name: _call(rule, *on_device, jnp.asarray(budget, jnp.int32))
            for name, rule in (RULES | {"MinimalBits": fewest}).items()
        }
        calls["numpy"] = partial(numpy_knapsack, errors, table, budget)
        rungs = {name: np.asarray(call()) for name, call in calls.items()}
        times = _times(calls)
        whole = errors[layers, uniform].sum()
        out(f"\n{share:.0%} of the dense message, {len(table)} layers, {LADDER.rungs} ratios")
        out(f"{'rule':32} {'ms':>8} {'slowest':>8} {'error/uniform':>14} {'bits/budget':>12}")
        for name, chosen in rungs.items():
            error, bits = errors[layers, chosen].sum() / whole, table[layers, chosen].sum() / budget
            ms, slowest = 1e3 * np.median(times[name]), 1e3 * np.max(times[name])
            out(f"{name:32} {ms:8.2f} {slowest:8.2f} {error:14.5f} {bits:12.5f}")
        before = time.perf_counter()
        least, gap = optimum(errors, table, budget)
        taken = 1e3 * (time.perf_counter() - before)
        out(f"{f'optimum by HiGHS, gap {gap:.0e}':32} {taken:8.0f} {'':8} {least / whole:14.5f}")


def compress(out: Callable[[str], None]) -> None:
    """Whole compressions of a vector of all layers, at a tenth of the dense message."""
    out(f"\n{'compression':32} {'compile s':>10} {'ms':>8} {'slowest':>8}")
    for name in ("Uniform", "Knapsack", "Lagrangian"):
        budgeted = sender(RULES[name])
        x = jnp.asarray(np.concatenate(heavy_tailed(budgeted.sizes)), jnp.float32)
        within = budgeted.within(budgeted.most_bits(jnp.float32) // 10)
        arguments = within, x, jax.random.key(0)
        lowered = jax.jit(lambda within, x, key: within.compress(x, key=key)).lower(*arguments)
        before = time.process_time()
        compiled = lowered.compile()
        seconds = time.process_time() - before
        jax.block_until_ready(compiled(*arguments))
        each = _times({name: partial(_wait, compiled, *arguments)})
        ms, slowest = np.median(each[name]) * 1e3, np.max(each[name]) * 1e3
        out(f"{name:32} {seconds:10.1f} {ms:8.0f} {slowest:8.0f}")


def _call(rule: Allocation, *arguments: jax.Array) -> Choice:
    return partial(_wait, jax.jit(rule.choose), *arguments)


def _wait(call: Callable[..., Any], *arguments: Any) -> Any:
    return jax.block_until_ready(call(*arguments))


def _times(calls: dict[str, Choice]) -> dict[str, list[float]]:
    """Seconds of each call, in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(PAIRS):
        for name, call in calls.items():
            before = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - before)
    return times


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """`python -m experiments.benchmarks.allocation`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--compress", action="store_true", help="time whole compressions too")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    compare(_line)
    if arguments.compress:
        compress(_line)
    _line("\n" + ", ".join(f"{key} {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
