import subprocess
import sys

import numpy as np

from experiments.memory import memory, peak_memory


def test_a_large_array_counts():
    before = peak_memory()
    size = before + 2**26
    assert np.ones(size // 8)[-1] == 1
    assert peak_memory() >= size


def test_memory_now_is_at_most_the_peak():
    held = np.ones(2**25)
    assert held.nbytes < memory() <= peak_memory() + 2**20


def test_a_child_does_not_inherit_the_peak_of_its_parent():
    assert np.ones(2**27)[-1] == 1
    code = "from experiments.memory import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2**28 < peak_memory()
