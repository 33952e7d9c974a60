"""The choices of least total error under a budget: the multiple-choice knapsack, solved exactly.

    min Σ_l errors[l, k_l]  subject to  Σ_l costs[l, k_l] ≤ budget

1. Options that are forbidden, or no better than a cheaper one of their layer, are dropped.
2. The cheapest of each layer is paid for; what is left of the budget and of the costs is divided by
   the greatest common divisor of the costs. Nothing is rounded.
3. D[l][c] = min_k D[l − 1][c − cost_lk] + error_lk, c = 0 … C; the k that attains it is kept.
4. The choices are followed from D[L][C] back to the first layer.

O(L·K·C) time, L·C bytes. For layers whose sizes share a divisor, as those of language models do, C
is some ten thousands where the budget has hundreds of millions of bits. `Knapsack` rounds costs up
instead, in jit.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8


MOST_BYTES = 2 << 30
"""Memory that the programme may take."""


class _Layer(NamedTuple):
    """The options of a layer that are worth their cost, cheapest first."""

    options: Int64[np.ndarray, " k"]
    errors: Float64[np.ndarray, " k"]
    costs: Int64[np.ndarray, " k"]
    """Above that of the cheapest, in units of the common divisor."""


def exact(
    errors: Float64[np.ndarray, "L K"], costs: Int64[np.ndarray, "L K"], budget: int
) -> Int64[np.ndarray, " L"]:
    """The option of every layer.

    Of choices with the same total error those are taken whose last layer is cheapest, then the
    layer in front of it, and so on; of options of a layer with equal error and cost, the first.

    Args:
        errors: of every option of every layer, in any order; infinite or NaN where it is forbidden.
        costs: in bits, not negative.
        budget: in bits.

    Raises:
        ValueError: over 256 options, a negative cost, a layer without an option, a budget below
            that of the cheapest options, or a programme too large for memory.
    """
    L, K = errors.shape
    if K > 256:
        raise ValueError(f"{K} options a layer; give at most 256")
    if (costs < 0).any():
        raise ValueError(f"a cost of {costs.min()} bits; costs are not negative")
    kept = [_worth(*row) for row in zip(errors, costs, strict=True)]
    if empty := [layer for layer, options in enumerate(kept) if not options.size]:
        raise ValueError(f"layer {empty[0]} has no option that is allowed; allow one")
    base = sum(int(costs[layer, options[0]]) for layer, options in enumerate(kept))
    if base > budget:
        raise ValueError(
            f"the cheapest options take {base} bits, the budget is {budget}: give at least {base}"
        )
    above = [costs[layer, options] - costs[layer, options[0]] for layer, options in enumerate(kept)]
    unit = math.gcd(*(int(cost) for row in above for cost in row)) or 1
    layers = [
        _Layer(options, errors[layer, options], row // unit)
        for layer, (options, row) in enumerate(zip(kept, above, strict=True))
    ]
    C = min((budget - base) // unit, sum(int(layer.costs[-1]) for layer in layers))
    needed = (L + 32) * (C + 1)
    if needed > MOST_BYTES:
        raise ValueError(
            f"the exact programme over {L} layers and a budget of {C + 1} units of {unit} bits "
            f"needs {needed / 2**30:.1f} GiB, and may take {MOST_BYTES / 2**30:.1f}: give options "
            "whose costs have a larger common divisor"
        )
    return _followed(layers, _programme(layers, C))


def _worth(
    errors: Float64[np.ndarray, " K"], costs: Int64[np.ndarray, " K"]
) -> Int64[np.ndarray, " k"]:
    """The options that are better than all that cost no more, cheapest first."""
    allowed = np.flatnonzero(np.isfinite(errors))
    ordered = allowed[np.lexsort((allowed, errors[allowed], costs[allowed]))]
    before = np.minimum.accumulate(np.concatenate([[np.inf], errors[ordered]]))[:-1]
    return ordered[errors[ordered] < before]


def _programme(layers: list[_Layer], C: int) -> list[UInt8[np.ndarray, " places"]]:
    """Which option of each layer D[l][c] takes, c = 0 … C."""
    least = np.zeros(C + 1)
    taken = []
    for layer in layers:
        best = least + layer.errors[0]
        choice = np.zeros(C + 1, np.uint8)
        for k in range(1, layer.costs.size):
            cost = int(layer.costs[k])
            if cost > C:
                break
            value = least[: C + 1 - cost] + layer.errors[k]
            lower = value < best[cost:]
            np.copyto(best[cost:], value, where=lower)
            np.copyto(choice[cost:], np.uint8(k), where=lower)
        least = best
        taken.append(choice)
    return taken


def _followed(
    layers: list[_Layer], taken: list[UInt8[np.ndarray, " places"]]
) -> Int64[np.ndarray, " L"]:
    place = taken[-1].size - 1 if taken else 0
    chosen = np.zeros(len(layers), np.int64)
    for l in reversed(range(len(layers))):  # noqa: E741  (the letter of the formula)
        k = int(taken[l][place])
        chosen[l] = layers[l].options[k]
        place -= int(layers[l].costs[k])
    return chosen
