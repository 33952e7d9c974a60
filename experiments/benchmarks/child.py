"""One rival on one workload in a process of its own, driven by lines on standard input.

Prints a line of JSON when it is ready: the seconds from the start of the process to the end of the
first unit, and of the first call alone. Then, for each line read, runs the workload and prints its
seconds and peak memory. Ends with the input.
"""

import json
import os
import sys
import time


AT_LEAST = 0.3
"""Seconds that a measurement lasts, by repeating short runs."""


def main() -> None:
    """`python -m experiments.benchmarks.child WORKLOAD RIVAL`."""
    import psutil

    begun = psutil.Process(os.getpid()).create_time()
    name, rival = sys.argv[1:]
    from experiments.benchmarks.rivals import RIVALS
    from experiments.benchmarks.workloads import WORKLOADS
    from experiments.memory import peak_memory

    workload = WORKLOADS[name]
    run = RIVALS[name][rival]()
    # Of arrivals a first unit is a first batch of them: one alone would move no server.
    first = 1 if workload.unit == "rounds" else max(1000, workload.units // 100)
    before = time.perf_counter()
    run(first)
    _say(first_call=time.perf_counter() - before, since_start=time.time() - begun)
    before = time.perf_counter()
    value = run(workload.units)
    repeats = max(1, round(AT_LEAST / (time.perf_counter() - before)))
    for _ in sys.stdin:
        before = time.perf_counter()
        for _ in range(repeats):
            value = run(workload.units)
        seconds = (time.perf_counter() - before) / repeats
        _say(seconds=seconds, value=value, peak=peak_memory())


def _say(**fields: float) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
