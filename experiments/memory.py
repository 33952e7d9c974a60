"""Memory of this process, by the operating system's account."""

import resource
import sys
from pathlib import Path

import psutil


def peak_memory() -> int:
    """Bytes of the largest resident memory of this process so far.

    Linux's `ru_maxrss` begins with that of the process that started this one; `VmHWM` does not.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def memory() -> int:
    """Bytes of resident memory of this process now."""
    return int(psutil.Process().memory_info().rss)
