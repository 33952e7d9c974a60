import re

import jax
import numpy as np
import pytest


@pytest.fixture
def check_moments():
    """Asserts that samples [M, d] have this mean and variance, by coordinate, within 5 errors."""

    def check(samples, mean, variance):
        samples = np.asarray(samples, np.float64)
        M = len(samples)
        centred = samples - mean
        measured = (centred**2).mean(axis=0)
        fourth = (centred**4).mean(axis=0)
        # The slack is for coordinates without noise, where both errors are rounding.
        slack = 1e-6 * (1 + np.abs(mean))
        mean_error = np.sqrt(variance / M)
        variance_error = np.sqrt(np.maximum(fourth - measured**2, 0) / M)
        assert np.all(np.abs(centred.mean(axis=0)) <= 5 * mean_error + slack)
        assert np.all(np.abs(measured - variance) <= 5 * variance_error + slack)

    return check


@pytest.fixture
def made_by():
    """The shapes that an operation gives in the program of `f(*args)`."""

    def shapes(operation, f, *args):
        program = str(jax.make_jaxpr(f)(*args))
        found = re.findall(rf"\w+:\w+\[([\d,]*)\] = {operation}\b", program)
        return [tuple(map(int, dims.split(","))) if dims else () for dims in found]

    return shapes
