"""What computes: the versions that a result, and every machine that takes part, must name."""

import os
import platform

import jax
import numpy as np


def versions() -> dict[str, str]:
    """The versions of this library, of Python, and of the libraries that numbers depend on."""
    from dopt import __version__

    return {
        "dopt": __version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def threads() -> int:
    """How many threads JAX computes with on a CPU: `NPROC`, else the processors of this process.

    Sums in large products are cut by threads: with another number they round otherwise.
    """
    given = os.environ.get("NPROC", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
