"""What the numbers of a benchmark depend on besides the code."""

import os
import platform
from pathlib import Path

import jax
import numpy as np


def machine() -> dict[str, str]:
    """The device, its host, and versions."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else "cpu",
        "processor": processor(),
        "threads": str(len(os.sched_getaffinity(0))),
        "JAX": jax.__version__,
        "numpy": np.__version__,
        "Python": platform.python_version(),
    }


def processor() -> str:
    """The name of the host's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def memory() -> int:
    """Bytes that the device has for arrays."""
    limits = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in limits:
        return int(limits["bytes_limit"])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
