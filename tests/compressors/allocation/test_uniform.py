import numpy as np
from allocations import R, chosen, instances
from hypothesis import given, settings

from compressors.allocation import Uniform


@settings(max_examples=40, deadline=None)
@given(instances())
def test_it_is_the_largest_rung_that_fits(instance):
    errors, bits, budget = instance
    expected = max([r for r in range(R) if bits[:, r].sum() <= budget], default=0)
    np.testing.assert_array_equal(chosen(Uniform(), errors, bits, budget), expected)
