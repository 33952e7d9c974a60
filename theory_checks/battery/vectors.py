"""The vectors that compressors are tried on."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np


def vectors(d: int, dtype: Any, seed: int) -> dict[str, np.ndarray]:
    """The adversarial vectors, by name.

    Constants are attained at special places: `constant` holds 4/3, the worst value between two
    powers of two, and `spike` is the worst case of ‖x‖₁‖x‖∞/‖x‖². The squared norm of `huge`
    overflows and that of `tiny` underflows, in all but float16, whose range is too narrow;
    `subnormal` holds one to three times the smallest positive number.
    """
    rng = np.random.default_rng(seed)
    gaussian = rng.standard_normal(d)
    unit = gaussian / np.linalg.norm(gaussian)
    limits = jnp.finfo(dtype)
    spike = np.full(d, 1 / (1 + math.sqrt(d)))
    spike[d // 2] = -1.0
    counts = np.arange(d)
    values = {
        "zero": np.zeros(d),
        "one-hot": np.eye(1, d, d // 3)[0],
        "constant": np.full(d, 4 / 3),
        "spike": spike,
        "sorted": np.linspace(-1.0, 1.0, d),
        "gaussian": gaussian,
        "heavy-tailed": rng.standard_t(1.5, d),
        "huge": unit * (float(limits.max) / (16 * (d + 1))),
        "tiny": unit * (float(limits.tiny) * 16 * (d + 1) ** 2),
        "subnormal": float(limits.smallest_subnormal) * (1 + counts % 3) * (-1.0) ** counts,
    }
    return {name: value.astype(dtype) for name, value in values.items()}


def length(x: np.ndarray) -> float:
    """‖x‖ in float64, where ‖x‖² may not be a number of float64."""
    largest = float(np.abs(x).max())
    return largest * float(np.linalg.norm(x / largest)) if largest else 0.0
