import numpy as np
import pytest
from allocations import L, chosen, instances, total
from hypothesis import given, settings

from compressors.allocation import ErrorAxis, Uniform, brute_force


@settings(max_examples=60, deadline=None)
@given(instances())
def test_it_is_off_by_at_most_a_level_a_layer(instance):
    errors, bits, budget = instance
    levels = 400
    error = total(errors, chosen(ErrorAxis(levels), errors, bits, budget))
    best = total(errors, brute_force(errors, bits, budget))
    uniform = total(errors, chosen(Uniform(), errors, bits, budget))
    assert error <= best + L * uniform / levels * (1 + 1e-9)


def test_few_levels_are_refused():
    with pytest.raises(ValueError, match="0 levels of error: give from 1"):
        ErrorAxis(0)


def test_nothing_is_lost_where_uniform_loses_nothing():
    errors = np.asarray([[5.0, 1.0, 0.0]] * 3)
    bits = np.asarray([[1, 2, 3]] * 3)
    assert chosen(ErrorAxis(), errors, bits, 9).tolist() == [2, 2, 2]
