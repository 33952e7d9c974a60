"""Clusters by name: the families of the papers and of their experiments.

Workers are numbered from 1 in the formulas, as in the papers, and from 0 in the arrays.
"""

import difflib
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from dopt.errors import ConfigurationError
from simulators.cluster import Cluster


def equal(n: int, h: float = 1.0, uplink: float = 0.0) -> Cluster:
    """`n` workers with the same times."""
    recipe = {"preset": "equal", "n": n, "h": _json(h), "uplink": _json(uplink)}
    return Cluster(np.full(_indices(n).size, h), uplink, recipe=recipe)


def power_law(
    n: int, h_power: float = 0.5, uplink_power: float = 0.5, uplink_scale: float = 0.0
) -> Cluster:
    """h_i = i^h_power and uplink_i = uplink_scale · i^uplink_power; free messages by default."""
    i = _indices(n)
    recipe = {
        "preset": "power_law",
        "n": n,
        "h_power": float(h_power),
        "uplink_power": float(uplink_power),
        "uplink_scale": float(uplink_scale),
    }
    return Cluster(i**h_power, uplink_scale * i**uplink_power, recipe=recipe)


def uniform(
    n: int,
    h: tuple[float, float] = (0.1, 1.0),
    uplink: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> Cluster:
    """Independent uniform times in the ranges `h` and `uplink`; a smaller `n` is a prefix."""
    for name, (low, high) in (("h", h), ("uplink", uplink)):
        if not 0 <= low <= high < math.inf:
            raise ConfigurationError(
                f"{name} = ({low}, {high}) is not a range of times; give 0 <= low <= high < inf"
            )
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}; give an integer >= 0")
    recipe = {
        "preset": "uniform",
        "n": n,
        "h": [float(bound) for bound in h],
        "uplink": [float(bound) for bound in uplink],
        "seed": seed,
    }
    return Cluster(_draw(n, h, seed, 0), _draw(n, uplink, seed, 1), recipe=recipe)


def two_speeds(
    n: int,
    fast: float = 1.0,
    slow: float = 10.0,
    slow_fraction: float = 0.5,
    uplink: float = 0.0,
) -> Cluster:
    """The last round(slow_fraction · n) workers take `slow` seconds a gradient, the others `fast`.

    `slow = inf` makes them stragglers that never answer.
    """
    if not 0 <= slow_fraction <= 1:
        raise ConfigurationError(f"slow_fraction = {slow_fraction}; give a number from 0 to 1")
    recipe = {
        "preset": "two_speeds",
        "n": n,
        "fast": _json(fast),
        "slow": _json(slow),
        "slow_fraction": float(slow_fraction),
        "uplink": _json(uplink),
    }
    is_slow = _indices(n) > n - round(slow_fraction * n)
    return Cluster(np.where(is_slow, slow, fast), uplink, recipe=recipe)


class Preset(NamedTuple):
    """A cluster that needs only its size `n` and the dimension `d` of the problem."""

    build: Callable[[int, int], Cluster]
    description: str


def by_name(name: str, n: int, d: int) -> Cluster:
    """The cluster of preset `name` with `n` workers, for a model with `d` coordinates.

    Raises:
        ConfigurationError: an unknown name (the message lists the known ones), n < 1, d < 1.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(
            f"no cluster preset is named {name!r}{hint} (known: {', '.join(PRESETS)})"
        )
    if d < 1:
        raise ConfigurationError(f"d = {d}; a model has at least one coordinate")
    built = PRESETS[name].build(n, d)
    recipe = {"preset": name, "n": n, "d": d}
    return Cluster(built.h, built.uplink, built.downlink, built.latency, built.unit, recipe)


def _indices(n: int) -> Float64[np.ndarray, " n"]:
    """1.0, …, n."""
    if n < 1:
        raise ConfigurationError(f"n = {n}; a cluster needs at least one worker")
    return np.arange(1, n + 1, dtype=np.float64)


def _draw(n: int, bounds: tuple[float, float], seed: int, stream: int) -> Float64[np.ndarray, " n"]:
    """`n` uniform times from a stream of their own."""
    low, high = bounds
    generator = np.random.Generator(np.random.PCG64([seed, stream]))
    return low + (high - low) * generator.random(_indices(n).size)


def _json(seconds: float) -> float | str:
    """`seconds`, as a config may hold it: strict JSON has no infinity."""
    return "inf" if math.isinf(seconds) else float(seconds)


def _paper(h: float, uplink: float, d: float, description: str) -> Preset:
    """h_i = i^h with uplink_i = i^uplink · dimension^d."""
    return Preset(lambda n, dim: power_law(n, h, uplink, float(dim) ** d), description)


def _uniform_h(d: float, description: str) -> Preset:
    """h_i ~ U(0.1, 1) with uplink_i = √i · dimension^d."""
    return Preset(
        lambda n, dim: Cluster(uniform(n).h, np.sqrt(_indices(n)) * float(dim) ** d), description
    )


def _uniform_links(c: float) -> Preset:
    """h_i ~ U(0.1, 1) with uplink_i ~ c · U(0.1, 1)."""
    return Preset(
        lambda n, _: uniform(n, uplink=(0.1 * c, c)), f"h ~ U(0.1, 1), uplink ~ {c:g}·U(0.1, 1)"
    )


PRESETS: dict[str, Preset] = {
    "equal": Preset(lambda n, _: equal(n), "h = 1, free messages"),
    "sqrt": Preset(lambda n, _: power_law(n), "h = √i, free messages"),
    "two-speeds": Preset(lambda n, _: two_speeds(n), "h = 1 or 10, half each, free messages"),
    "high": _paper(1 / 2, 1 / 2, -1.0, "h = √i, uplink = √i/d: fast links"),
    "medium": _paper(1 / 2, 1 / 2, -3 / 4, "h = √i, uplink = √i/d^(3/4): medium links"),
    "low": _paper(1 / 2, 1 / 2, -1 / 2, "h = √i, uplink = √i/√d: slow links"),
    "sqrt-flat-high": _paper(1 / 2, 0.0, -1.0, "h = √i, uplink = 1/d"),
    "sqrt-flat-medium": _paper(1 / 2, 0.0, -3 / 4, "h = √i, uplink = 1/d^(3/4)"),
    "sqrt-flat-low": _paper(1 / 2, 0.0, -1 / 2, "h = √i, uplink = 1/√d"),
    "fourth-root-flat-high": _paper(1 / 4, 0.0, -1.0, "h = i^(1/4), uplink = 1/d"),
    "fourth-root-flat-medium": _paper(1 / 4, 0.0, -3 / 4, "h = i^(1/4), uplink = 1/d^(3/4)"),
    "fourth-root-flat-low": _paper(1 / 4, 0.0, -1 / 2, "h = i^(1/4), uplink = 1/√d"),
    "fourth-root-medium": _paper(1 / 4, 1 / 2, -3 / 4, "h = i^(1/4), uplink = √i/d^(3/4)"),
    "eighth-root-medium": _paper(1 / 8, 1 / 2, -3 / 4, "h = i^(1/8), uplink = √i/d^(3/4)"),
    "equal-medium": _paper(0.0, 1 / 2, -3 / 4, "h = 1, uplink = √i/d^(3/4)"),
    "inverse-sqrt-medium": _paper(-1 / 2, 1 / 2, -3 / 4, "h = 1/√i, uplink = √i/d^(3/4)"),
    "equal-flat-low": _paper(0.0, 0.0, -1 / 2, "h = 1, uplink = 1/√d"),
    "uniform-high": _uniform_h(-1.0, "h ~ U(0.1, 1), uplink = √i/d"),
    "uniform-medium": _uniform_h(-3 / 4, "h ~ U(0.1, 1), uplink = √i/d^(3/4)"),
    "uniform-low": _uniform_h(-1 / 2, "h ~ U(0.1, 1), uplink = √i/√d"),
    "uniform-cheap-links": _uniform_links(0.1),
    "uniform-equal-links": _uniform_links(1.0),
    "uniform-dear-links": _uniform_links(100.0),
}
"""Every cluster that the command line can build from its name; τ̇ of the papers is `uplink`.

`high`, `medium`, `low`, the other powers of i and `equal` are those of the Shadowheart experiments
(arXiv:2402.04785); `uniform-*` are those of its figures 5 and 7.
"""
