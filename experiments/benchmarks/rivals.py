"""Which function runs which workload; each is imported only in the process that runs it."""

from collections.abc import Callable
from typing import Any

from experiments.benchmarks.workloads import Run


OURS, NUMPY, JAX = "dopt", "numpy", "jax"


def _build(module: str, name: str, *args: Any, **options: Any) -> Callable[[], Run]:
    def build() -> Run:
        import importlib

        return getattr(importlib.import_module(f"experiments.benchmarks.{module}"), name)(
            *args, **options
        )

    return build


def _three(name: str, *args: Any, **grid: int) -> dict[str, Callable[[], Run]]:
    """The same name in all three modules; numpy runs one of the grid."""
    return {
        OURS: _build("library", name, *args, **grid),
        NUMPY: _build("numpy_loops", name, *args),
        JAX: _build("jax_scans", name, *args, **grid),
    }


def _shadowheart(n: int) -> dict[str, Callable[[], Run]]:
    return {
        OURS: _build("library", "shadowheart", n),
        NUMPY: _build("mnist_rivals", "numpy_loop", n),
        JAX: _build("mnist_rivals", "jax_scan", n),
    }


RIVALS: dict[str, dict[str, Callable[[], Run]]] = {
    "W1": _three("gradient_descent", 100),
    "W2-RandK": _three("gradient_descent", 100, "RandK"),
    "W2-TopK": _three("gradient_descent", 100, "TopK"),
    "W3": _three("gradient_descent", 1000),
    "W4-Asynchronous": _three("asynchronous"),
    "W4-Rennala": _three("rennala"),
    "W5-GD": _three("gradient_descent", 100, sizes=64),
    "W5-Asynchronous": _three("asynchronous", sizes=16, seeds=8),
    "W5-Rennala": _three("rennala", sizes=16, seeds=8),
    "W6-Shadowheart-100": _shadowheart(100),
    "W6-Shadowheart-10000": _shadowheart(10_000),
    "W6-Timeline": {
        OURS: _build("library", "arrivals"),
        NUMPY: _build("numpy_loops", "timeline"),
    },
}
