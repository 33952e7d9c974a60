import math

import pytest

from dopt.errors import ConfigurationError
from simulators.rates import Constant


def test_a_constant_divides():
    rate = Constant(4)
    assert rate.end(2.5, 10) == 5.0
    assert rate.between(1, 3.5) == 10.0
    assert (rate.at(17), rate.mean()) == (4.0, 4.0)
    assert rate == Constant(4.0)
    assert rate.to_config() == {"rate": "constant", "per_second": 4.0}


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ConfigurationError, match="give a finite number > 0"):
        Constant(rate)
