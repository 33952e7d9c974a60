"""Memory by the operating system's account: one float32 run with n = d = 10^4 under 2 GiB."""

import subprocess
import sys

import pytest


RUN = """
import resource
import jax.numpy as jnp
import numpy as np
from compressors import RandK, TopK
from dopt import TridiagonalQuadratic, replay
from dopt.methods import *
from dopt.problems import GaussianNoise
from simulators import timeline
from simulators.cluster import Cluster

n = d = 10_000
method = {method}
problem = TridiagonalQuadratic(d, noise=GaussianNoise(0.01), dtype=jnp.float32)
i = np.arange(1, n + 1.0)
bits = method.compressor.nbits(d, problem.dtype)
costs = Cluster(np.sqrt(i), np.sqrt(i) / d).costs(d=d, dtype=problem.dtype, message_bits=bits)
schedule = timeline(method.policy(costs, d), costs, steps={steps})
trace = replay(problem, method, schedule)
assert np.isfinite(trace.grad_norm2).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "steps"),
    [
        ("MinibatchSGD(0.5)", 3),
        ("QSGD(0.01, RandK(100))", 3),
        ("AsynchronousSGD(1e-4)", 10_000),
        ("RennalaSGD(0.5, 100)", 30),
        ("ShadowheartSGD(0.5, RandK(1), 100.0)", 3),
        ("EF21(0.1, TopK(100))", 3),
        ("MARINA(0.1, RandK(100), p=0.01)", 3),
    ],
)
def test_peak_memory_is_under_two_gib(method, steps):
    code = RUN.format(method=method, steps=steps)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2.0
