"""What computes: the versions that a result, and every machine that takes part, must name."""

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
